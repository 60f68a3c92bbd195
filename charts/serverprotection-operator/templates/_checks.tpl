{{/* What values.schema.json cannot say, or could not explain. */}}
{{- define "serverprotection.checks" -}}
{{- if and .Values.watchNamespace .Values.secretAccess.clusterWide }}
{{- fail "secretAccess.clusterWide: a release with watchNamespace has rights in this namespace only; use secretAccess.namespaces" }}
{{- end }}
{{- range .Values.secretAccess.namespaces }}
{{- if and $.Values.watchNamespace (ne . $.Values.watchNamespace) }}
{{- fail (printf "secretAccess.namespaces: a release with watchNamespace needs Secrets of the namespace %s only, not of %s" $.Values.watchNamespace .) }}
{{- end }}
{{- end }}
{{- if and .Values.proxy.https .Values.proxy.existingSecret }}
{{- fail "proxy: set https or existingSecret, not both" }}
{{- end }}
{{- end -}}
