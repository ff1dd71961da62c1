{{/* Where a runtime keeps its things, as JSON: what the operator says, or the usual places. */}}
{{- define "skvaller.runtime" -}}
{{- $places := dict
  "containerd" (dict "socket" "/run/containerd/containerd.sock" "state" "/var/lib/containerd" "configPath" "/etc/containerd")
  "k3s" (dict "socket" "/run/k3s/containerd/containerd.sock" "state" "/var/lib/rancher/k3s/agent/containerd" "configPath" "/etc/rancher/k3s")
  "rke2" (dict "socket" "/run/k3s/containerd/containerd.sock" "state" "/var/lib/rancher/rke2/agent/containerd" "configPath" "/etc/rancher/rke2")
  "microk8s" (dict "socket" "/var/snap/microk8s/common/run/containerd.sock" "state" "/var/snap/microk8s/common/var/lib/containerd" "configPath" "/var/snap/microk8s/current/args")
  "k0s" (dict "socket" "/run/k0s/containerd.sock" "state" "/var/lib/k0s/containerd" "configPath" "/etc/k0s") -}}
{{- $usual := get $places .Values.containerd.runtime -}}
{{- dict
  "socket" (default $usual.socket .Values.containerd.socket)
  "contentPath" (default (printf "%s/io.containerd.content.v1.content" $usual.state) .Values.containerd.contentPath)
  "configPath" (default $usual.configPath .Values.containerd.configPath)
  | toJson -}}
{{- end -}}

{{/* The address at which the runtime asks the agent. One in brackets may be of either family. */}}
{{- define "skvaller.client" -}}
{{- if and (eq .Values.network.mode "hostPort") (not .Values.network.hostIP) -}}
http://[$(HOST_ADDRESS)]:{{ .Values.network.ports.client }}
{{- else if and (eq .Values.network.mode "hostPort") (contains ":" .Values.network.hostIP) -}}
http://[{{ .Values.network.hostIP }}]:{{ .Values.network.ports.client }}
{{- else if eq .Values.network.mode "hostPort" -}}
http://{{ .Values.network.hostIP }}:{{ .Values.network.ports.client }}
{{- else -}}
http://127.0.0.1:{{ .Values.network.ports.client }}
{{- end -}}
{{- end -}}
