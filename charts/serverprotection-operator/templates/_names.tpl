{{/* The first part of all names: "serverprotection" for a release of this name, as in deploy/base. */}}
{{- define "serverprotection.prefix" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else if contains "serverprotection" .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-serverprotection" (.Release.Name | trunc 28 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/* Name of the Deployment and of what belongs to it. */}}
{{- define "serverprotection.controller" -}}
{{- printf "%s-controller" (include "serverprotection.prefix" .) -}}
{{- end -}}

{{- define "serverprotection.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "serverprotection.controller" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The controller as the subject of a binding. */}}
{{- define "serverprotection.subject" -}}
kind: ServiceAccount
name: {{ include "serverprotection.serviceAccount" . }}
namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* Labels that select the pods. They cannot change. */}}
{{- define "serverprotection.selector" -}}
app.kubernetes.io/name: serverprotection-controller
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of every object. The commands of the operator find the installation by part-of. */}}
{{- define "serverprotection.labels" -}}
{{- $labels := dict
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_")
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" "serverprotection"
  "app.kubernetes.io/version" .Chart.AppVersion -}}
{{- toYaml (merge $labels .Values.commonLabels) -}}
{{- end -}}

{{/*
The metadata of an object: list of root, name, and optionally namespace, labels and annotations.
*/}}
{{- define "serverprotection.metadata" -}}
{{- $root := index . 0 -}}
{{- $metadata := dict "name" (index . 1) -}}
{{- $more := dict -}}
{{- if gt (len .) 2 }}{{ $more = index . 2 }}{{ end -}}
{{- with $more.namespace }}{{ $_ := set $metadata "namespace" . }}{{ end -}}
{{- $labels := merge (include "serverprotection.labels" $root | fromYaml) (default dict $more.labels) -}}
{{- $_ := set $metadata "labels" $labels -}}
{{- with merge (dict) (default dict $more.annotations) $root.Values.commonAnnotations }}{{ $_ := set $metadata "annotations" . }}{{ end -}}
{{- toYaml $metadata -}}
{{- end -}}

{{- define "serverprotection.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}
