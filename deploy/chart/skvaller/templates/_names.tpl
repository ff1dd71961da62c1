{{/* Names, labels and the image. */}}

{{- define "skvaller.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "skvaller.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "skvaller.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "skvaller.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- define "skvaller.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "skvaller.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of agents. It must never change: a DaemonSet's selector cannot. */}}
{{- define "skvaller.selector" -}}
app.kubernetes.io/name: {{ include "skvaller.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end -}}

{{/* The metadata of an object. Takes (list root suffix own-labels own-annotations); the suffix may be empty. */}}
{{- define "skvaller.metadata" -}}
{{- $root := index . 0 -}}
{{- $labels := dict
  "app.kubernetes.io/name" (include "skvaller.name" $root)
  "app.kubernetes.io/instance" $root.Release.Name
  "app.kubernetes.io/version" ($root.Chart.AppVersion | toString)
  "app.kubernetes.io/managed-by" $root.Release.Service
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_") -}}
{{- $labels = mergeOverwrite $labels (deepCopy $root.Values.commonLabels) (deepCopy (index . 2 | default dict)) -}}
{{- $annotations := mergeOverwrite (deepCopy $root.Values.commonAnnotations) (deepCopy (index . 3 | default dict)) -}}
name: {{ include "skvaller.fullname" $root }}{{ index . 1 }}
namespace: {{ include "skvaller.namespace" $root }}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "skvaller.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "skvaller.keySecret" -}}
{{- default (printf "%s-key" (include "skvaller.fullname" .)) .Values.key.existingSecret -}}
{{- end -}}

{{/* The secret with passwords of registries; empty if there is none. */}}
{{- define "skvaller.credentialsSecret" -}}
{{- if .Values.upstreamCredentials.existingSecret -}}
{{ .Values.upstreamCredentials.existingSecret }}
{{- else if .Values.upstreamCredentials.registries -}}
{{ include "skvaller.fullname" . }}-upstream
{{- end -}}
{{- end -}}

{{/* What all containers of the chart may do, but for one that restarts the runtime: nothing that root may beyond its files. */}}
{{- define "skvaller.securityContext" -}}
{{- $own := dict
  "runAsUser" 0
  "runAsGroup" 0
  "readOnlyRootFilesystem" true
  "allowPrivilegeEscalation" false
  "capabilities" (dict "drop" (list "ALL"))
  "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- toYaml (mergeOverwrite $own (deepCopy .Values.securityContext)) -}}
{{- end -}}
