{{- define "exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* Pods are called after it, with a number, and Kubernetes allows 63 characters. */ -}}
{{- define "exporter.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "exporter.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "exporter.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "exporter.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "exporter.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* Of everything, and of one object (more); each once, and the chart's own stay. */ -}}
{{- define "exporter.labels" -}}
{{- $own := include "exporter.commonLabels" .root | fromYaml }}
{{- mergeOverwrite (dict) (default dict .root.Values.labels) (default dict .more) $own | toYaml }}
{{- end }}

{{- define "exporter.podLabels" -}}
{{- $own := include "exporter.selectorLabels" . | fromYaml }}
{{- mergeOverwrite (dict) (default dict .Values.podLabels) $own | toYaml }}
{{- end }}

{{- /* Unless set otherwise, replicas prefer different nodes. */ -}}
{{- define "exporter.affinity" -}}
{{- if .Values.affinity }}
{{- toYaml .Values.affinity }}
{{- else if gt (int .Values.replicas) 1 }}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "exporter.selectorLabels" . | nindent 12 }}
{{- end }}
{{- end }}

{{- define "exporter.image" -}}
{{- with .Values.image }}
{{- $name := printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- with .registry }}{{ . }}/{{ end }}
{{- if .digest }}{{ $name }}@{{ .digest }}{{ else }}{{ $name }}{{ end }}
{{- end }}
{{- end }}

{{- define "exporter.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "exporter.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "exporter.configSecret" -}}
{{- if .Values.existingConfigSecret }}{{ .Values.existingConfigSecret }}
{{- else if .Values.config }}{{ include "exporter.fullname" . }}-config
{{- end }}
{{- end }}

{{- define "exporter.credentialsSecret" -}}
{{- if .Values.credentials.existingSecret }}{{ .Values.credentials.existingSecret }}
{{- else if .Values.credentials.data }}{{ include "exporter.fullname" . }}-credentials
{{- end }}
{{- end }}

{{- define "exporter.webConfigSecret" -}}
{{- if .Values.existingWebConfigSecret }}{{ .Values.existingWebConfigSecret }}
{{- else if .Values.webConfig }}{{ include "exporter.fullname" . }}-web-config
{{- end }}
{{- end }}

{{- /* The alerts know the exporter by a job that begins with onapp-backup. */ -}}
{{- define "exporter.job" -}}
{{- if eq .Release.Name .Chart.Name }}{{ .Chart.Name }}
{{- else }}{{ .Chart.Name }}-{{ .Release.Name }}
{{- end }}
{{- end }}

{{- /* What a web configuration of yours asks for is not known here: TLS, most likely. */ -}}
{{- define "exporter.scheme" -}}
{{- or .Values.existingWebConfigSecret (default dict .Values.webConfig).tls_server_config | empty | ternary "http" "https" }}
{{- end }}

{{- define "exporter.probe" -}}
{{- with omit .probe "enabled" }}
{{- toYaml . }}
{{- end }}
{{- if include "exporter.webConfigSecret" .root }}
exec:
  command: [onapp-backup-exporter, healthcheck{{ if eq .path "/-/ready" }}, --ready{{ end }}]
{{- else }}
httpGet:
  path: {{ .path }}
  port: metrics
{{- end }}
{{- end }}

{{- define "exporter.endpoint" -}}
{{- with .monitor }}
interval: {{ .interval }}
scrapeTimeout: {{ .scrapeTimeout }}
scheme: {{ .scheme }}
{{- with .tlsConfig }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .basicAuth }}
basicAuth:
  {{- toYaml . | nindent 2 }}
{{- end }}
relabelings:
  - targetLabel: job
    replacement: {{ include "exporter.job" $.root }}
  # A pod keeps its name over restarts, and so do its series.
  - sourceLabels: [__meta_kubernetes_pod_name]
    targetLabel: instance
  {{- with .relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "exporter.limits" -}}
{{- with .sampleLimit }}
sampleLimit: {{ . | int }}
{{- end }}
{{- with .bodySizeLimit }}
bodySizeLimit: {{ . }}
{{- end }}
{{- end }}

{{- /* What a schema cannot say: values that do not go together. */ -}}
{{- define "exporter.validate" -}}
{{- $values := .Values }}
{{- $environment := $values.extraEnvFrom }}
{{- range $values.extraEnv }}
{{- if eq .name "ONAPP_URL" }}{{ $environment = list . }}{{ end }}
{{- end }}
{{- $configured := include "exporter.configSecret" . }}
{{- if and $values.demo $configured }}
{{- fail "demo watches its own cloud: leave out demo, or config and existingConfigSecret" }}
{{- end }}
{{- if not (or $values.demo $configured $environment) }}
{{- fail "no panel to watch: set config.panels, existingConfigSecret, or ONAPP_URL and its like in extraEnv; or demo=true to look at a simulated cloud" }}
{{- end }}
{{- if and $values.config $values.existingConfigSecret }}
{{- fail "config and existingConfigSecret: set one of them" }}
{{- end }}
{{- if and $values.credentials.data $values.credentials.existingSecret }}
{{- fail "credentials.data and credentials.existingSecret: set one of them" }}
{{- end }}
{{- if and $values.webConfig $values.existingWebConfigSecret }}
{{- fail "webConfig and existingWebConfigSecret: set one of them" }}
{{- end }}
{{- range $name, $monitor := dict "serviceMonitor" $values.serviceMonitor "podMonitor" $values.podMonitor }}
{{- if and $monitor.enabled (not $values.existingWebConfigSecret) }}
{{- $scheme := include "exporter.scheme" $ }}
{{- if ne $monitor.scheme $scheme }}
{{- fail (printf "%s.scheme: set %s, which is what the exporter speaks by webConfig" $name $scheme) }}
{{- end }}
{{- if and (default dict $values.webConfig).basic_auth_users (not $monitor.basicAuth) }}
{{- fail (printf "%s.basicAuth: name the Secret with one of webConfig.basic_auth_users, or Prometheus is refused" $name) }}
{{- end }}
{{- $clients := dig "tls_server_config" "client_auth_type" "" (default dict $values.webConfig) }}
{{- $tls := default dict $monitor.tlsConfig }}
{{- if and (hasPrefix "Require" $clients) (not (or $tls.cert $tls.certFile)) }}
{{- fail (printf "%s.tlsConfig: name cert and keySecret, which webConfig demands (%s), or Prometheus is refused" $name $clients) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $values.serviceMonitor.enabled $values.podMonitor.enabled }}
{{- fail "serviceMonitor and podMonitor: enable one of them, or every pod is scraped twice" }}
{{- end }}
{{- end }}
