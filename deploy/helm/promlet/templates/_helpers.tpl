{{- define "promlet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* Names are derived from it, so it leaves them room in the 63 characters of a Service. */}}
{{- define "promlet.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (default .Chart.Name .Values.nameOverride) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (default .Chart.Name .Values.nameOverride) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "promlet.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace }}
{{- end }}

{{- define "promlet.chartLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Without the release's name: a cluster has one promlet, and selectors can never be changed. */}}
{{- define "promlet.selectorLabels" -}}
app.kubernetes.io/name: {{ include "promlet.name" . | quote }}
{{- end }}

{{- define "promlet.podLabels" -}}
{{ include "promlet.selectorLabels" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: metrics-adapter
{{- end }}

{{- define "promlet.labels" -}}
{{ include "promlet.podLabels" . }}
{{ include "promlet.chartLabels" . }}
{{- end }}

{{- define "promlet.shardSelectorLabels" -}}
app.kubernetes.io/name: "{{ include "promlet.name" . }}-shard"
{{- end }}

{{- define "promlet.shardPodLabels" -}}
{{ include "promlet.shardSelectorLabels" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: metrics-scraper
{{- end }}

{{- define "promlet.shardLabels" -}}
{{ include "promlet.shardPodLabels" . }}
{{ include "promlet.chartLabels" . }}
{{- end }}

{{- define "promlet.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "promlet.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "promlet.image" -}}
{{- printf "%s:%s" .Values.image.repository (default (printf "v%s" .Chart.AppVersion) .Values.image.tag) }}
{{- with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "promlet.priorityClassName" -}}
{{- default (include "promlet.fullname" .) .Values.priorityClassName }}
{{- end }}

{{/* The Secret with the serving certificate. Its key ca.crt is the CA. */}}
{{- define "promlet.certificateSecret" -}}
{{- if eq .Values.tls.type "promlet" }}
{{- include "promlet.fullname" . }}-serving-cert
{{- else if eq .Values.tls.type "cert-manager" }}
{{- include "promlet.fullname" . }}-tls
{{- else }}
{{- required "tls.existingSecret.name: name the Secret with the certificate" .Values.tls.existingSecret.name }}
{{- end }}
{{- end }}

{{/* The subjects of a binding to promlet's ServiceAccount. */}}
{{- define "promlet.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "promlet.serviceAccountName" . }}
    namespace: {{ include "promlet.namespace" . }}
{{- end }}

{{/*
A configuration file of the rules and of other keys (config). Where the default rules precede
others, it has rules in the form of these values, which promlet reads.
*/}}
{{- define "promlet.configFile" -}}
{{- $rules := .rules }}
{{- $file := deepCopy .config }}
{{- if and $rules.default $rules.custom }}
{{- $_ := set $file "rules" (dict "default" true "custom" $rules.custom) }}
{{- with $rules.external }}{{ $_ := set $file.rules "external" . }}{{ end }}
{{- with $rules.resource }}{{ $_ := set $file.rules "resource" . }}{{ end }}
{{- else }}
{{- if not $rules.default }}{{ $_ := set $file "rules" $rules.custom }}{{ end }}
{{- with $rules.external }}{{ $_ := set $file "externalRules" . }}{{ end }}
{{- with $rules.resource }}{{ $_ := set $file "resourceRules" . }}{{ end }}
{{- end }}
{{- if $file }}{{ toYaml $file }}{{ end }}
{{- end }}

{{- define "promlet.config" -}}
{{- include "promlet.configFile" (dict "rules" .Values.rules "config" .Values.config) }}
{{- end }}

{{/* The ConfigMap that is mounted, if any. */}}
{{- define "promlet.configMap" -}}
{{- if .Values.rules.existing }}
{{- .Values.rules.existing }}
{{- else if include "promlet.config" . }}
{{- include "promlet.fullname" . }}
{{- end }}
{{- end }}

{{/* What the pods of the Deployment and those of the shards have in common. */}}
{{- define "promlet.podSpec" -}}
automountServiceAccountToken: true
# A variable for each Service in the namespace: nobody reads them.
enableServiceLinks: false
priorityClassName: {{ include "promlet.priorityClassName" . }}
terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.schedulerName }}
schedulerName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What their containers have in common. */}}
{{- define "promlet.container" -}}
name: promlet
image: {{ include "promlet.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
ports:
  - name: https
    containerPort: {{ .Values.containerPort }}
{{- range $probe := list "startupProbe" "readinessProbe" "livenessProbe" }}
{{- with index $.Values $probe }}
{{ $probe }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The Go runtime's CPUs, where the resources do not limit them: it takes memory for each CPU of the node. */}}
{{- define "promlet.maxProcs" -}}
{{- $limits := (. | default dict).limits | default dict -}}
{{- if not $limits.cpu -}}
- name: GOMAXPROCS
  value: "2"
{{- end -}}
{{- end }}

{{/* How promlet's own metrics are scraped: an endpoint of a monitor (.monitor). */}}
{{- define "promlet.endpoint" -}}
port: https
scheme: https
authorization:
  credentials:
    name: {{ include "promlet.fullname" .root }}-metrics-reader
    key: token
tlsConfig:
  serverName: {{ include "promlet.fullname" .root }}.{{ include "promlet.namespace" .root }}.svc
  ca:
    secret:
      name: {{ include "promlet.certificateSecret" .root }}
      key: ca.crt
{{- with .monitor.interval }}
interval: {{ . }}
{{- end }}
{{- with .monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .monitor.relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
