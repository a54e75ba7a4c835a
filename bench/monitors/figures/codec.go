package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
)

// format is how a client wants its answer.
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
		return runtime.ContentTypeProtobuf
	}
	return runtime.ContentTypeJSON
}

func (f format) watchContentType() string {
	if f.protobuf {
		return runtime.ContentTypeProtobuf + ";stream=watch"
	}
	return runtime.ContentTypeJSON
}

// frame encodes an event of a watch: in protobuf, after its length in four bytes.
func (f format) frame(e *metav1.WatchEvent) ([]byte, error) {
	if !f.protobuf {
		line, err := json.Marshal(e)
		return append(line, '\n'), err
	}
	body, err := e.Marshal()
	if err != nil {
		return nil, err
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	return append(frame, body...), nil
}

// codec encodes objects as the API server does. Those it is given know their kind, and
// are not changed: many watches encode the same.
type codec struct {
	scheme         *runtime.Scheme
	json, protobuf runtime.Serializer
}

func newCodec() (*codec, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, monitoringv1.AddToScheme, metav1.AddMetaToScheme} {
		if err := add(s); err != nil {
			return nil, fmt.Errorf("register kinds: %w", err)
		}
	}
	c := &codec{scheme: s}
	types := serializer.NewCodecFactory(s).SupportedMediaTypes()
	for media, to := range map[string]*runtime.Serializer{
		runtime.ContentTypeJSON: &c.json, runtime.ContentTypeProtobuf: &c.protobuf,
	} {
		info, ok := runtime.SerializerInfoForMediaType(types, media)
		if !ok {
			return nil, fmt.Errorf("no serializer of %s", media)
		}
		*to = info.Serializer
	}
	return c, nil
}

// object encodes one object.
func (c *codec) object(f format, object runtime.Object) ([]byte, error) {
	if f.metadata {
		partial, err := partialMetadata(object)
		if err != nil {
			return nil, err
		}
		object = partial
	}
	return c.encode(f, object)
}

// list encodes a list of objects.
func (c *codec) list(k apiKind, f format, objects []runtime.Object, version string) ([]byte, error) {
	if f.metadata {
		list := &metav1.PartialObjectMetadataList{
			TypeMeta: metav1.TypeMeta{APIVersion: metav1.SchemeGroupVersion.String(), Kind: "PartialObjectMetadataList"},
			ListMeta: metav1.ListMeta{ResourceVersion: version},
		}
		for _, object := range objects {
			partial, err := partialMetadata(object)
			if err != nil {
				return nil, err
			}
			list.Items = append(list.Items, *partial)
		}
		return c.encode(f, list)
	}
	list, err := c.scheme.New(k.WithKind(k.kind + "List"))
	if err != nil {
		return nil, fmt.Errorf("make list: %w", err)
	}
	if err := meta.SetList(list, objects); err != nil {
		return nil, fmt.Errorf("fill list: %w", err)
	}
	m, err := meta.ListAccessor(list)
	if err != nil {
		return nil, fmt.Errorf("fill list: %w", err)
	}
	m.SetResourceVersion(version)
	list.GetObjectKind().SetGroupVersionKind(k.WithKind(k.kind + "List"))
	return c.encode(f, list)
}

// bookmark makes the object of the event that ends the initial events of a watch.
func (c *codec) bookmark(k apiKind, version string) (runtime.Object, error) {
	object, err := c.scheme.New(k.WithKind(k.kind))
	if err != nil {
		return nil, fmt.Errorf("make bookmark: %w", err)
	}
	m, err := meta.Accessor(object)
	if err != nil {
		return nil, fmt.Errorf("make bookmark: %w", err)
	}
	object.GetObjectKind().SetGroupVersionKind(k.WithKind(k.kind))
	m.SetResourceVersion(version)
	m.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	return object, nil
}

func (c *codec) encode(f format, object runtime.Object) ([]byte, error) {
	if f.protobuf {
		return runtime.Encode(c.protobuf, object)
	}
	return runtime.Encode(c.json, object)
}

func partialMetadata(object runtime.Object) (*metav1.PartialObjectMetadata, error) {
	m, err := meta.Accessor(object)
	if err != nil {
		return nil, err
	}
	partial := meta.AsPartialObjectMetadata(m)
	partial.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("PartialObjectMetadata"))
	return partial, nil
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", runtime.ContentTypeJSON)
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}
