{{- define "k8s-prometheus-adapter.fullname" }}prometheus-adapter{{ end -}}
{{- define "k8s-prometheus-adapter.namespace" }}promlet{{ end -}}
{{- define "k8s-prometheus-adapter.labels" }}
app: prometheus-adapter
{{- end -}}
