package main

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

// events returns a recorder of Events in the cluster, and a function that stops it. The
// recorder is nil without a cluster.
func (o *options) events(c *cluster) (recorder record.EventRecorder, stop func(), err error) {
	if c == nil {
		return nil, func() {}, nil
	}
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		return nil, nil, fmt.Errorf("make client of Events: %w", err)
	}
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	return broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "promlet", Host: o.podName}), broadcaster.Shutdown, nil
}

// maxEventMessage is the API server's limit, in bytes.
const maxEventMessage = 1024

// eventMessage shortens a text to what an Event can hold.
func eventMessage(text string) string {
	if len(text) <= maxEventMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxEventMessage-len("...")], "") + "..."
}
