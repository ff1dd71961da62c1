{{/* The secret with the key, as it is in the cluster; empty if it is not there, or nobody can look. */}}
{{- define "skvaller.keyStep" -}}
{{- $found := dict -}}
{{- if not .Values.key.existingSecret -}}
{{- $found = lookup "v1" "Secret" (include "skvaller.namespace" .) (include "skvaller.keySecret" .) | default dict -}}
{{- end -}}
{{- default (dig "metadata" "annotations" "skvaller/key-rotation" "" $found) .Values.key.rotation -}}
{{- end -}}
