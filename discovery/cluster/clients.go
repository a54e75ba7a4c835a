package cluster

import (
	"errors"
	"fmt"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// Clients are the clients a Source uses. All but References must be set.
type Clients struct {
	Kubernetes kubernetes.Interface
	Dynamic    dynamic.Interface
	Metadata   metadata.Interface
	// References reads the Secrets and ConfigMaps of monitors. A client of its own has
	// its own rate limit, so that monitors cannot slow down everything else. nil means
	// Kubernetes.
	References kubernetes.Interface
}

// The rate limit of Clients.References, in requests a second and in requests at once.
const (
	referenceQPS   = 50
	referenceBurst = 100
)

// NewClients makes the clients for an API server. Core kinds come as protobuf,
// which costs both sides less than JSON.
func NewClients(cfg *rest.Config) (Clients, error) {
	typedCfg := rest.CopyConfig(cfg)
	typedCfg.ContentType = "application/vnd.kubernetes.protobuf"
	typedCfg.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	referenceCfg := rest.CopyConfig(typedCfg)
	referenceCfg.QPS, referenceCfg.Burst, referenceCfg.RateLimiter = referenceQPS, referenceBurst, nil
	var (
		c                      Clients
		err1, err2, err3, err4 error
	)
	c.References, err4 = kubernetes.NewForConfig(referenceCfg)
	c.Kubernetes, err1 = kubernetes.NewForConfig(typedCfg)
	c.Dynamic, err2 = dynamic.NewForConfig(cfg)
	c.Metadata, err3 = metadata.NewForConfig(cfg)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return Clients{}, fmt.Errorf("make clients: %w", err)
	}
	return c, nil
}
