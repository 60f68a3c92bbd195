{{/* The arguments of the container. Settings that are null are left to the controller. */}}
{{- define "serverprotection.arguments" -}}
- controller
{{- $lease := include "serverprotection.controller" . }}
{{- if ne $lease "serverprotection-controller" }}
- --lease-name={{ $lease }}
{{- end }}
{{- with .Values.leaderElection }}
{{- with .leaseDuration }}
- --lease-duration={{ . }}
{{- end }}
{{- with .renewDeadline }}
- --lease-renew-deadline={{ . }}
{{- end }}
{{- with .retryPeriod }}
- --lease-retry-period={{ . }}
{{- end }}
{{- end }}
{{- with .Values.watchNamespace }}
- --watch-namespace={{ . }}
{{- end }}
{{- if ne .Values.azure.cloud "public" }}
- --cloud={{ .Values.azure.cloud }}
{{- end }}
{{- with .Values.azure.resourceManagerEndpoint }}
- --resource-manager-endpoint={{ . }}
{{- end }}
{{- with .Values.azure.authorityHost }}
- --authority-host={{ . }}
{{- end }}
{{- with .Values.azure.audience }}
- --audience={{ . }}
{{- end }}
{{- if .Values.azure.extraCA.configMap }}
- --extra-ca=/etc/serverprotection/ca/{{ .Values.azure.extraCA.key }}
{{- end }}
{{- with .Values.controller }}
{{- with .concurrency }}
- --concurrency={{ . }}
{{- end }}
{{- with .machineScanInterval }}
- --machine-scan-interval={{ . }}
{{- end }}
{{- with .blockedRetryInterval }}
- --blocked-retry-interval={{ . }}
{{- end }}
{{- with .registrationTimeout }}
- --registration-timeout={{ . }}
{{- end }}
{{- with .claimLapseAfter }}
- --claim-lapse-after={{ . }}
{{- end }}
{{- with .logFormat }}
- --log-format={{ . }}
{{- end }}
{{- if .perObjectMetrics }}
- --per-object-metrics
{{- end }}
{{- range .extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}
