package servingcert

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
)

// apiService is the part of an APIService about its Service and its certificate.
type apiService struct {
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		Service               service `json:"service"`
		CABundle              []byte  `json:"caBundle"`
		InsecureSkipTLSVerify bool    `json:"insecureSkipTLSVerify"`
	} `json:"spec"`

	Status struct {
		Conditions []metav1.Condition `json:"conditions"`
	} `json:"status"`
}

// servicePort is the port of the Service that the API server uses when an APIService names no port.
const servicePort = 443

// automanaged is the label of the APIServices that the API server makes for groups of its own.
const automanaged = "kube-aggregator.kubernetes.io/automanaged"

// unserved reports whether nobody serves an APIService: it names no Service, or a Service that does not exist.
func (a *apiService) unserved() bool {
	if a.Spec.Service == (service{}) {
		_, own := a.Labels[automanaged]
		return !own
	}
	return slices.ContainsFunc(a.Status.Conditions, func(c metav1.Condition) bool {
		return c.Type == "Available" && c.Status == metav1.ConditionFalse && c.Reason == "ServiceNotFound"
	})
}

type service struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

func (s service) String() string {
	if s == (service{}) {
		return "no Service"
	}
	return "Service " + s.Namespace + "/" + s.Name
}

// sighting is the caBundle that an APIService of promlet was last seen with.
type sighting struct {
	text  []byte
	cas   []*x509.Certificate
	since time.Time // zero when it was there before this process looked
}

// trust puts the bundle into the caBundle of promlet's APIServices. If one cannot be
// changed, trust still changes the others.
func (k *Keeper) trust(ctx context.Context, bundle []*x509.Certificate) {
	if len(bundle) == 0 {
		return
	}
	text := encodeBundle(bundle)
	k.foreign = map[string]bool{}
	for _, name := range k.opts.APIServices {
		err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
			return k.trustOne(ctx, name, text)
		})
		if errors.Is(ctx.Err(), context.Canceled) {
			return // the process ends, which is no problem
		}
		k.problems.set("APIService "+name, hinted(err))
	}
}

// group returns the API group in the name of an APIService.
func group(name string) string {
	_, group, _ := strings.Cut(name, ".")
	return group
}

func (k *Keeper) trustOne(ctx context.Context, name string, bundle []byte) error {
	client := k.opts.Dynamic.Resource(schema.GroupVersionResource{
		Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices",
	})
	object, err := client.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		delete(k.seen, name)
		return stateError("it does not exist; apply deploy/ again, which makes it")
	}
	var present apiService
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &present)
	}
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	ours := service{Namespace: k.opts.Namespace, Name: k.opts.Service}
	owner, group := present.Spec.Service, group(name)
	if owner != ours && (k.foreign[group] || !present.unserved()) {
		delete(k.seen, name)
		if k.foreign[group] && present.unserved() {
			return stateError(fmt.Sprintf("it is left alone as long as another version of %s belongs to another Service", group))
		}
		k.foreign[group] = true
		return stateError(fmt.Sprintf("it belongs to %s, not to %s, and is left alone: for promlet to serve it, run kubectl delete apiservice %s and apply deploy/ again", owner, ours, name))
	}
	k.observe(name, present.Spec.CABundle)
	if owner == ours && bytes.Equal(present.Spec.CABundle, bundle) && !present.Spec.InsecureSkipTLSVerify {
		return nil
	}
	// The patch is refused when the APIService has changed since it was read: it could name
	// another Service by then. An API server refuses insecureSkipTLSVerify together with a
	// caBundle.
	spec := map[string]any{"caBundle": bundle, "insecureSkipTLSVerify": false}
	if owner != ours {
		spec["service"] = map[string]any{"namespace": ours.Namespace, "name": ours.Name, "port": servicePort}
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": present.ResourceVersion},
		"spec":     spec,
	})
	if err != nil {
		return err
	}
	if _, err := client.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager}); err != nil {
		return fmt.Errorf("patch spec: %w", err)
	}
	k.observe(name, bundle)
	k.opts.Logger.Info("serving certificate: put the CA into an APIService", "apiservice", name)
	if owner != ours {
		k.opts.Logger.Info("serving certificate: put promlet's Service into an APIService that nobody served", "apiservice", name)
	}
	return nil
}

// observe notes which caBundle an APIService has, and since when if it changed
// while this process ran.
func (k *Keeper) observe(name string, bundle []byte) {
	before, known := k.seen[name]
	if known && bytes.Equal(before.text, bundle) {
		return
	}
	s := sighting{text: bundle}
	if known {
		s.since = time.Now()
	}
	s.cas, _ = parseBundle(bundle) // certificates that cannot be parsed do not count
	k.seen[name] = s
}

// trusted reports whether all APIServices that were seen have had a CA in their
// caBundle for the overlap.
func (k *Keeper) trusted(ca *x509.Certificate, now time.Time) bool {
	for _, s := range k.seen {
		if !contains(s.cas, ca) || now.Sub(s.since) < k.overlap {
			return false
		}
	}
	return true
}
