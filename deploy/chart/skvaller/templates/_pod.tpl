{{/* Parts of pods: where they run, and what containers see. */}}

{{/*
The affinity of a group's pods. Takes (list root name-of-the-group). A node that has the labels of several groups belongs
to the first of them, in the order of their names; nodes of no group belong to the main DaemonSet, whose name is empty.
*/}}
{{- define "skvaller.affinity" -}}
{{- $root := index . 0 -}}
{{- $mine := index . 1 -}}
{{- $expressions := list -}}
{{- range $name, $group := $root.Values.nodeGroups -}}
{{- if or (eq $mine "") (lt $name $mine) -}}
{{- $expressions = append $expressions (dict "key" $group.label.key "operator" "NotIn" "values" (list ($group.label.value | toString))) -}}
{{- end -}}
{{- end -}}
{{- $affinity := deepCopy $root.Values.affinity -}}
{{- if $expressions -}}
{{- $node := get $affinity "nodeAffinity" | default dict -}}
{{- $required := get $node "requiredDuringSchedulingIgnoredDuringExecution" | default dict -}}
{{- $terms := list -}}
{{- range (get $required "nodeSelectorTerms" | default (list dict)) -}}
{{- $terms = append $terms (mergeOverwrite (deepCopy .) (dict "matchExpressions" (concat (get . "matchExpressions" | default list) $expressions))) -}}
{{- end -}}
{{- $_ := set $required "nodeSelectorTerms" $terms -}}
{{- $_ := set $node "requiredDuringSchedulingIgnoredDuringExecution" $required -}}
{{- $_ := set $affinity "nodeAffinity" $node -}}
{{- end -}}
{{- if $affinity }}{{ toYaml $affinity }}{{ end -}}
{{- end -}}

{{/* Who a pod is and where it runs: the same for agents and for the clean-up. Takes (list root name-of-the-group). */}}
{{- define "skvaller.placement" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
serviceAccountName: {{ include "skvaller.serviceAccount" $root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- $selector := deepCopy $root.Values.nodeSelector }}
{{- if $name }}
{{- $label := (get $root.Values.nodeGroups $name).label }}
{{- $_ := set $selector $label.key ($label.value | toString) }}
{{- end }}
{{- with $selector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "skvaller.affinity" . }}
affinity:
  {{- . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
What differs from node to node, by the downward API; in the environment, so that `kubectl exec` of any command knows it,
too. An address in brackets may be of either family.
*/}}
{{- define "skvaller.environment" -}}
{{- $ports := .Values.network.ports -}}
- name: SKVALLER_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: POD_ADDRESS
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: HOST_ADDRESS
  valueFrom: {fieldRef: {fieldPath: status.hostIP}}
- {name: SKVALLER_PEER, value: "[$(POD_ADDRESS)]:{{ $ports.peer }}"}
- {name: SKVALLER_GOSSIP, value: "[$(POD_ADDRESS)]:{{ $ports.gossip }}"}
- {name: SKVALLER_METRICS, value: "[$(POD_ADDRESS)]:{{ $ports.metrics }}"}
{{- if eq .Values.network.mode "hostPort" }}
- {name: SKVALLER_LISTEN, value: "127.0.0.1:{{ $ports.client }},[$(POD_ADDRESS)]:{{ $ports.client }}"}
{{- end }}
- {name: SKVALLER_CONFIG, value: /etc/skvaller/agent.toml}
- {name: SKVALLER_AGENT, value: "http://127.0.0.1:{{ $ports.client }}"}
{{- end -}}

{{/*
The agent's folder on the node; of one that is not kept, what `skvaller configure` has to remember is on the node all
the same.
*/}}
{{- define "skvaller.dataVolumes" -}}
- name: data
  {{- if .Values.persistence.enabled }}
  hostPath: {path: {{ .Values.persistence.hostPath | quote }}, type: DirectoryOrCreate}
  {{- else }}
  emptyDir: {}
  {{- if .Values.containerd.configure }}
- name: configured
  hostPath: {path: "{{ .Values.persistence.hostPath }}/configured", type: DirectoryOrCreate}
  {{- end }}
  {{- end }}
{{- end -}}

{{- define "skvaller.dataMounts" -}}
- {name: data, mountPath: /var/lib/skvaller}
{{- if and .Values.containerd.configure (not .Values.persistence.enabled) }}
- {name: configured, mountPath: /var/lib/skvaller/configured}
{{- end }}
{{- end -}}

{{/* What an agent reads of its settings. Takes (list root suffix-of-the-group). Others than root read none of it. */}}
{{- define "skvaller.settingsVolumes" -}}
{{- $root := index . 0 -}}
- name: settings
  configMap: {name: {{ include "skvaller.fullname" $root }}{{ index . 1 }}, defaultMode: 0400}
- name: key
  secret: {secretName: {{ include "skvaller.keySecret" $root }}, defaultMode: 0400}
{{- with include "skvaller.credentialsSecret" $root }}
- name: upstream
  secret:
    secretName: {{ . }}
    defaultMode: 0400
    items: [{key: .dockerconfigjson, path: config.json}]
{{- end }}
{{- end -}}
