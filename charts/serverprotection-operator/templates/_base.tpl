{{/*
The text of a file of deploy/base, with the names of the release. `cargo xtask generate` copies the files, so that a rule
of a role or a policy is written once. All names in them begin with "serverprotection-".
*/}}
{{- define "serverprotection.base" -}}
{{- $root := index . 0 -}}
{{- $prefix := printf "%s-" (include "serverprotection.prefix" $root) -}}
{{- $root.Files.Get (printf "files/base/%s" (index . 1)) | replace "serverprotection-" $prefix -}}
{{- end -}}

{{/* All objects of such a file, with the labels of the release. */}}
{{- define "serverprotection.baseObjects" -}}
{{- $root := index . 0 -}}
{{- range splitList "\n---\n" (include "serverprotection.base" .) }}
{{- $object := fromYaml . }}
{{- $more := dict "labels" $object.metadata.labels }}
{{- $_ := set $object "metadata" (include "serverprotection.metadata" (list $root $object.metadata.name $more) | fromYaml) }}
---
{{ toYaml $object }}
{{- end }}
{{- end -}}

{{/* The rules of the first role of such a file. */}}
{{- define "serverprotection.baseRules" -}}
{{- toYaml (index (splitList "\n---\n" (include "serverprotection.base" .)) 0 | fromYaml).rules -}}
{{- end -}}

{{/*
The same, for a role in a namespace: without kinds that are in no namespace, which such a role cannot grant.
*/}}
{{- define "serverprotection.namespacedRules" -}}
{{- $rules := list -}}
{{- range (include "serverprotection.baseRules" . | fromYamlArray) }}
{{- $resources := list -}}
{{- range .resources }}
{{- if not (or (hasPrefix "cluster" .) (eq "namespaces" .)) }}{{ $resources = append $resources . }}{{ end -}}
{{- end }}
{{- if $resources }}{{ $rules = append $rules (merge (dict "resources" $resources) .) }}{{ end -}}
{{- end }}
{{- toYaml $rules -}}
{{- end -}}
