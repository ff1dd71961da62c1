{{/* Writing the runtime's configuration on a node, and taking it back. */}}

{{/*
The container that does it. Takes (list root name-of-the-container command).
The host's files are there to be read; the folders that it may write are mounted again. To restart the runtime it runs
the host's own systemctl, which takes one capability, chroot, and systemd's socket.
*/}}
{{- define "skvaller.configureContainer" -}}
{{- $root := index . 0 -}}
{{- $runtime := include "skvaller.runtime" $root | fromJson -}}
name: {{ index . 1 }}
image: {{ include "skvaller.image" $root | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
args:
  - {{ index . 2 }}
  - {{ $root.Values.containerd.runtime }}
  - --root=/host
  {{- if eq (index . 2) "configure" }}
  - --agent={{ include "skvaller.client" $root }}
  {{- range $root.Values.containerd.mirroredRegistries }}
  - --registry={{ . }}
  {{- end }}
  {{- range $root.Values.containerd.additionalMirrorTargets }}
  - --then={{ . }}
  {{- end }}
  {{- end }}
  {{- if $root.Values.containerd.restart }}
  - --restart
  {{- end }}
env:
  {{- include "skvaller.environment" $root | nindent 2 }}
resources:
  {{- toYaml $root.Values.configureResources | nindent 2 }}
securityContext:
  {{- $security := include "skvaller.securityContext" $root | fromYaml }}
  {{- if $root.Values.containerd.restart }}
  {{- $_ := set $security "capabilities" (dict "drop" (list "ALL") "add" (list "SYS_CHROOT")) }}
  {{- end }}
  {{- toYaml $security | nindent 2 }}
volumeMounts:
  - {name: settings, mountPath: /etc/skvaller/agent.toml, subPath: agent.toml, readOnly: true}
  - {name: key, mountPath: /etc/skvaller/key, readOnly: true}
  {{- if include "skvaller.credentialsSecret" $root }}
  - {name: upstream, mountPath: /etc/skvaller/upstream, readOnly: true}
  {{- end }}
  {{- include "skvaller.dataMounts" $root | nindent 2 }}
  - {name: tmp, mountPath: /tmp}
  {{- include "skvaller.hostMounts" $root | nindent 2 }}
{{- end -}}

{{- define "skvaller.hostMounts" -}}
{{- $runtime := include "skvaller.runtime" . | fromJson -}}
- {name: host, mountPath: /host, readOnly: true, mountPropagation: HostToContainer}
- {name: configuration, mountPath: /host{{ $runtime.configPath }}}
{{- with .Values.containerd.registryConfigPath }}
- {name: registries, mountPath: /host{{ . }}}
{{- end }}
{{- end -}}

{{- define "skvaller.hostVolumes" -}}
{{- $runtime := include "skvaller.runtime" . | fromJson -}}
- name: host
  hostPath: {path: /, type: Directory}
- name: configuration
  hostPath: {path: {{ $runtime.configPath }}, type: DirectoryOrCreate}
{{- with .Values.containerd.registryConfigPath }}
- name: registries
  hostPath: {path: {{ . }}, type: DirectoryOrCreate}
{{- end }}
{{- end -}}
