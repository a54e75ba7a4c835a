package main

import (
	"context"
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
	"k8s.io/apimachinery/pkg/watch"
)

// apiKind is a kind of object that the API server serves.
type apiKind struct {
	schema.GroupVersion
	resource, kind string
}

// The kinds there are objects of.
const (
	kindNamespaces = "namespaces"
	kindNodes      = "nodes"
	kindPods       = "pods"
	kindServices   = "services"
	kindSlices     = "endpointslices"
	kindMonitors   = monitoringv1.ServiceMonitorName
)

func apiKinds() []apiKind {
	return []apiKind{
		{corev1.SchemeGroupVersion, kindNamespaces, "Namespace"},
		{corev1.SchemeGroupVersion, kindNodes, "Node"},
		{corev1.SchemeGroupVersion, kindPods, "Pod"},
		{corev1.SchemeGroupVersion, kindServices, "Service"},
		{discoveryv1.SchemeGroupVersion, kindSlices, "EndpointSlice"},
		{autoscalingv2.SchemeGroupVersion, "horizontalpodautoscalers", "HorizontalPodAutoscaler"},
		{monitoringv1.SchemeGroupVersion, kindMonitors, monitoringv1.ServiceMonitorsKind},
		{monitoringv1.SchemeGroupVersion, monitoringv1.PodMonitorName, monitoringv1.PodMonitorsKind},
	}
}

// apiServer is as much of a Kubernetes API as informers ask for: lists, watches from
// a resource version on, and watches that begin with what there is. It knows no
// selectors, and keeps all events for ever.
type apiServer struct {
	*httptest.Server
	codec *codec
	stop  context.CancelFunc

	mtx     sync.Mutex
	version int
	stores  map[string]*store
}

// store holds the objects of one kind.
type store struct {
	apiKind
	objects map[string]runtime.Object
	events  []event
	news    chan struct{} // closed at the next event
}

type event struct {
	version int
	kind    watch.EventType
	object  runtime.Object
}

func newAPIServer() (*apiServer, error) {
	c, err := newCodec()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &apiServer{codec: c, stop: stop, stores: map[string]*store{}}
	mux := http.NewServeMux()
	for _, k := range apiKinds() {
		st := &store{apiKind: k, objects: map[string]runtime.Object{}, news: make(chan struct{})}
		s.stores[k.resource] = st
		root := "/apis/" + k.Group
		if k.Group == "" {
			root = "/api"
		}
		serve := func(w http.ResponseWriter, r *http.Request) { s.serve(ctx, w, r, st) }
		mux.HandleFunc("GET "+root+"/"+k.Version+"/"+k.resource, serve)
		mux.HandleFunc("GET "+root+"/"+k.Version+"/namespaces/{namespace}/"+k.resource, serve)
	}
	mux.HandleFunc("GET /apis/"+monitoringv1.SchemeGroupVersion.String(), s.serveMonitoringDiscovery)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find "+r.URL.Path)
	})
	s.Server = httptest.NewServer(mux)
	return s, nil
}

// Close ends all watches, and waits for them.
func (s *apiServer) Close() {
	s.stop()
	s.CloseClientConnections()
	s.Server.Close()
}

// put makes an object what there is under its name. Its kind and resource version are
// set here; from then on it is shared, and must not change.
func (s *apiServer) put(resource string, object runtime.Object) {
	s.change(resource, object, func(st *store, key string) watch.EventType {
		_, ok := st.objects[key]
		st.objects[key] = object
		if ok {
			return watch.Modified
		}
		return watch.Added
	})
}

// remove takes an object away.
func (s *apiServer) remove(resource string, object runtime.Object) {
	s.change(resource, object.DeepCopyObject(), func(st *store, key string) watch.EventType {
		delete(st.objects, key)
		return watch.Deleted
	})
}

func (s *apiServer) change(resource string, object runtime.Object, apply func(*store, string) watch.EventType) {
	s.mtx.Lock()
	defer s.mtx.Unlock()
	m, _ := meta.Accessor(object) // all kinds have metadata
	st := s.stores[resource]
	object.GetObjectKind().SetGroupVersionKind(st.WithKind(st.kind))
	s.version++
	m.SetResourceVersion(strconv.Itoa(s.version))
	kind := apply(st, m.GetNamespace()+"/"+m.GetName())
	st.events = append(st.events, event{version: s.version, kind: kind, object: object})
	close(st.news)
	st.news = make(chan struct{})
}

// serve answers a list or a watch. ctx ends with the server.
func (s *apiServer) serve(ctx context.Context, w http.ResponseWriter, r *http.Request, st *store) {
	query := r.URL.Query()
	if query.Get("labelSelector") != "" || query.Get("fieldSelector") != "" {
		s.refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, "selectors are not served")
		return
	}
	ns := r.PathValue("namespace")
	f := formatOf(r.Header.Get("Accept"))
	if query.Get("watch") != "" && query.Get("watch") != "false" {
		if err := s.serveWatch(ctx, w, r, st, f); err != nil {
			s.refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error())
		}
		return
	}
	s.mtx.Lock()
	objects, version := st.in(ns), s.version
	s.mtx.Unlock()
	body, err := s.codec.list(st.apiKind, f, objects, strconv.Itoa(version))
	if err != nil {
		s.refuse(w, http.StatusInternalServerError, metav1.StatusReasonInternalError, err.Error())
		return
	}
	w.Header().Set("Content-Type", f.contentType())
	_, _ = w.Write(body)
}

// in returns the objects of a namespace; "" is all.
func (st *store) in(ns string) []runtime.Object {
	var out []runtime.Object
	for key, object := range st.objects {
		if ns == "" || strings.HasPrefix(key, ns+"/") {
			out = append(out, object)
		}
	}
	return out
}

// since returns the position after which events are newer than a version.
func (st *store) since(version int) int {
	for i, e := range st.events {
		if e.version > version {
			return i
		}
	}
	return len(st.events)
}

// serveMonitoringDiscovery tells that there are ServiceMonitors and PodMonitors.
func (s *apiServer) serveMonitoringDiscovery(w http.ResponseWriter, _ *http.Request) {
	list := &metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"},
		GroupVersion: monitoringv1.SchemeGroupVersion.String(),
	}
	for _, k := range apiKinds() {
		if k.GroupVersion == monitoringv1.SchemeGroupVersion {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: k.resource, Kind: k.kind, Namespaced: true, Verbs: metav1.Verbs{"list", "watch"},
			})
		}
	}
	writeJSON(w, http.StatusOK, list)
}

func (s *apiServer) refuse(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	writeJSON(w, code, &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
	})
}
