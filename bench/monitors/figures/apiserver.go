package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/watch"
)

// The kinds there are objects of.
const (
	kindNamespaces = "namespaces"
	kindNodes      = "nodes"
	kindPods       = "pods"
	kindServices   = "services"
	kindSlices     = "endpointslices"
	kindMonitors   = monitoringv1.ServiceMonitorName
)

// apiServer is as much of a Kubernetes API as the informers of both sides ask for:
// watches that begin with what has happened so far, of all namespaces or of the one in
// which all objects are. It knows no lists and no selectors, and keeps all events for
// ever.
type apiServer struct {
	*httptest.Server
	stop context.CancelFunc

	mtx     sync.Mutex
	version int
	kinds   map[string]*kind
}

// kind is the objects of one kind.
type kind struct {
	schema.GroupVersionKind
	empty  runtime.Object
	known  map[string]bool // by namespace and name
	events []event
	news   chan struct{} // closed at the next event
}

type event struct {
	kind   watch.EventType
	object runtime.Object
}

func newAPIServer() *apiServer {
	ctx, stop := context.WithCancel(context.Background())
	s := &apiServer{stop: stop, kinds: map[string]*kind{}}
	mux := http.NewServeMux()
	for _, k := range []struct {
		schema.GroupVersion
		resource, kind string
		empty          runtime.Object
	}{
		{corev1.SchemeGroupVersion, kindNamespaces, "Namespace", &corev1.Namespace{}},
		{corev1.SchemeGroupVersion, kindNodes, "Node", &corev1.Node{}},
		{corev1.SchemeGroupVersion, kindPods, "Pod", &corev1.Pod{}},
		{corev1.SchemeGroupVersion, kindServices, "Service", &corev1.Service{}},
		{discoveryv1.SchemeGroupVersion, kindSlices, "EndpointSlice", &discoveryv1.EndpointSlice{}},
		{autoscalingv2.SchemeGroupVersion, "horizontalpodautoscalers", "HorizontalPodAutoscaler", &autoscalingv2.HorizontalPodAutoscaler{}},
		{monitoringv1.SchemeGroupVersion, kindMonitors, monitoringv1.ServiceMonitorsKind, &monitoringv1.ServiceMonitor{}},
		{monitoringv1.SchemeGroupVersion, monitoringv1.PodMonitorName, monitoringv1.PodMonitorsKind, &monitoringv1.PodMonitor{}},
	} {
		of := &kind{GroupVersionKind: k.WithKind(k.kind), empty: k.empty, known: map[string]bool{}, news: make(chan struct{})}
		s.kinds[k.resource] = of
		root := "/apis/" + k.Group
		if k.Group == "" {
			root = "/api"
		}
		serve := func(w http.ResponseWriter, r *http.Request) { s.serve(ctx, w, r, of) }
		mux.HandleFunc("GET "+root+"/"+k.Version+"/"+k.resource, serve)
		mux.HandleFunc("GET "+root+"/"+k.Version+"/namespaces/"+namespace+"/"+k.resource, serve)
	}
	mux.HandleFunc("GET /apis/"+monitoringv1.SchemeGroupVersion.String(), serveMonitoringDiscovery)
	s.Server = httptest.NewServer(mux)
	return s
}

// Close ends all watches, and waits for them.
func (s *apiServer) Close() {
	s.stop()
	s.CloseClientConnections()
	s.Server.Close()
}

// put makes an object what there is under its name. Its kind and resource version are
// set here; from then on it is shared, and must not change.
func (s *apiServer) put(resource string, object runtime.Object) { s.change(resource, object, false) }

// remove takes an object away.
func (s *apiServer) remove(resource string, object runtime.Object) {
	s.change(resource, object.DeepCopyObject(), true)
}

func (s *apiServer) change(resource string, object runtime.Object, gone bool) {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	m, _ := meta.Accessor(object) // all kinds have metadata
	of := s.kinds[resource]
	object.GetObjectKind().SetGroupVersionKind(of.GroupVersionKind)
	s.version++
	m.SetResourceVersion(strconv.Itoa(s.version))
	e := event{kind: watch.Added, object: object}
	key := m.GetNamespace() + "/" + m.GetName()
	switch {
	case gone:
		e.kind = watch.Deleted
	case of.known[key]:
		e.kind = watch.Modified
	}
	of.known[key] = !gone
	of.events = append(of.events, e)
	close(of.news)
	of.news = make(chan struct{})
}

// serve streams events until the client or ctx, which ends with the server, ends it.
func (s *apiServer) serve(ctx context.Context, w http.ResponseWriter, r *http.Request, of *kind) {
	query := r.URL.Query()
	if query.Get("sendInitialEvents") != "true" || query.Get("labelSelector")+query.Get("fieldSelector") != "" {
		http.Error(w, "only watches that begin with all objects are served", http.StatusBadRequest)
		return
	}
	f := formatOf(r.Header.Get("Accept"))
	w.Header().Set("Content-Type", f.contentType())
	sent, begun := 0, false
	for {
		s.mtx.Lock()
		fresh, version, news := of.events[sent:], s.version, of.news
		s.mtx.Unlock()
		sent += len(fresh)
		if !begun {
			fresh = append(fresh[:len(fresh):len(fresh)], of.bookmark(version))
			begun = true
		}
		for _, e := range fresh {
			frame, err := f.frame(e)
			if err == nil {
				_, err = w.Write(frame)
			}
			if err != nil {
				return // the client sees its watch end, or is gone
			}
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-news:
		case <-r.Context().Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// bookmark is the event that ends the initial events of a watch.
func (k *kind) bookmark(version int) event {
	object := k.empty.DeepCopyObject()
	object.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind)
	m, _ := meta.Accessor(object) // as above
	m.SetResourceVersion(strconv.Itoa(version))
	m.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	return event{kind: watch.Bookmark, object: object}
}

// format is how a client wants its events.
type format struct {
	protobuf bool
	metadata bool // only the metadata of objects
}

// formatOf takes the first of the media types accepted, which for client-go's clients
// is the one they prefer.
func formatOf(accept string) format {
	first, _, _ := strings.Cut(accept, ",")
	return format{
		protobuf: strings.HasPrefix(first, runtime.ContentTypeProtobuf),
		metadata: strings.Contains(first, "as=PartialObjectMetadata"),
	}
}

func (f format) contentType() string {
	if f.protobuf {
		return runtime.ContentTypeProtobuf + ";stream=watch"
	}
	return runtime.ContentTypeJSON
}

// frame encodes an event: in protobuf, after its length in four bytes.
func (f format) frame(e event) ([]byte, error) {
	object := e.object
	if f.metadata {
		m, err := meta.Accessor(object)
		if err != nil {
			return nil, err
		}
		partial := meta.AsPartialObjectMetadata(m)
		partial.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("PartialObjectMetadata"))
		object = partial
	}
	encoded := metav1.WatchEvent{Type: string(e.kind)}
	var err error
	if !f.protobuf {
		encoded.Object.Object = object
		line, err := json.Marshal(encoded)
		return append(line, '\n'), err
	}
	if encoded.Object.Raw, err = runtime.Encode(protobuf.NewSerializer(nil, nil), object); err != nil {
		return nil, fmt.Errorf("encode %s: %w", e.kind, err)
	}
	body, err := encoded.Marshal()
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body))) //nolint:gosec // small
	return append(frame, body...), err
}

// serveMonitoringDiscovery answers that there are ServiceMonitors and PodMonitors.
func serveMonitoringDiscovery(w http.ResponseWriter, _ *http.Request) {
	list := metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"}, GroupVersion: monitoringv1.SchemeGroupVersion.String(),
	}
	for resource, kind := range map[string]string{
		kindMonitors: monitoringv1.ServiceMonitorsKind, monitoringv1.PodMonitorName: monitoringv1.PodMonitorsKind,
	} {
		list.APIResources = append(list.APIResources, metav1.APIResource{
			Name: resource, Kind: kind, Namespaced: true, Verbs: metav1.Verbs{"list", "watch"},
		})
	}
	w.Header().Set("Content-Type", runtime.ContentTypeJSON)
	_ = json.NewEncoder(w).Encode(list) // the client may be gone
}
