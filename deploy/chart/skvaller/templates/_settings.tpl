{{/* A value of TOML. A JSON text is one of TOML too; a whole number has no decimal point. */}}
{{- define "skvaller.toml" -}}
{{- if kindIs "string" . -}}
{{ toJson . }}
{{- else if kindIs "bool" . -}}
{{ . }}
{{- else if kindIs "slice" . -}}
[{{ range $index, $each := . }}{{ if $index }}, {{ end }}{{ include "skvaller.toml" $each }}{{ end }}]
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{ int64 . }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}

{{/* The agent's settings beside those that differ from node to node. Takes (list root settings-of-the-group). */}}
{{- define "skvaller.settings" -}}
{{- $root := index . 0 -}}
{{- $values := $root.Values -}}
{{- $settings := dict
  "data-dir" "/var/lib/skvaller"
  "cluster" $values.agent.cluster
  "gossip-profile" $values.agent.gossipProfile
  "log-level" $values.agent.logLevel
  "log-format" $values.agent.logFormat
  "cache-size" $values.agent.cacheSize
  "home" $values.agent.home
  "push" $values.agent.push
  "tags" $values.agent.tags
  "key-file" "/etc/skvaller/key/cluster.key" -}}
{{- if $values.agent.offline }}{{ $_ := set $settings "offline" $values.agent.offline }}{{ end -}}
{{- if $values.agent.pins }}{{ $_ := set $settings "pin" $values.agent.pins }}{{ end -}}
{{- $left := concat $values.agent.registryFilters (ternary (list) (list "*/*:*") $values.containerd.resolveTags) -}}
{{- if $left }}{{ $_ := set $settings "leave-out" $left }}{{ end -}}
{{- if and $values.containerd.configure $values.containerd.watch }}{{ $_ := set $settings "repair" "/host" }}{{ end -}}
{{- if $values.gossipAllow }}{{ $_ := set $settings "gossip-allow" $values.gossipAllow }}{{ end -}}
{{- if include "skvaller.credentialsSecret" $root -}}
{{- $_ := set $settings "upstream-auth" "/etc/skvaller/upstream/config.json" -}}
{{- end -}}
{{- if $values.containerd.share -}}
{{- $_ := set $settings "containerd" (include "skvaller.runtime" $root | fromJson).socket -}}
{{- $_ := set $settings "containerd-namespace" $values.containerd.namespace -}}
{{- end -}}
{{- $domain := trimSuffix "." $values.network.clusterDomain -}}
{{- $service := printf "%s-gossip.%s.svc.%s.:%v" (include "skvaller.fullname" $root) (include "skvaller.namespace" $root) $domain $values.network.ports.gossip -}}
{{- $_ := set $settings "join" (concat (list $service) $values.join) -}}
{{- if ne $values.network.mode "hostPort" -}}
{{- $_ := set $settings "listen" (list (printf "127.0.0.1:%v" $values.network.ports.client)) -}}
{{- end -}}
{{- $settings = mergeOverwrite $settings (deepCopy $values.agent.settings) (deepCopy (index . 1)) -}}
{{- range $name, $value := $settings }}
{{ $name }} = {{ include "skvaller.toml" $value }}
{{- end }}
{{ range $table, $rows := dict "registry" $values.agent.registries "tag" $values.agent.tagPolicies "private" $values.agent.private }}
{{- range $rows }}
[[{{ $table }}]]
{{- range $name, $value := . }}
{{ $name }} = {{ include "skvaller.toml" $value }}
{{- end }}
{{ end }}
{{- end }}
{{- end -}}
