{{/* What every pod of this chart has in common. Arguments: root (the chart's context), name, resources. */}}

{{- define "proxyless.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* Labels of a mesh member without a sidecar. tlsMode: without it, callers with auto-mTLS would send it plaintext. */}}
{{- define "proxyless.memberLabels" -}}
sidecar.istio.io/inject: "false"
security.istio.io/tlsMode: istio
{{- end -}}

{{- define "proxyless.pod" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ .name }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ $values.user }}
  runAsGroup: {{ $values.user }}
  fsGroup: {{ $values.user }}
  seccompProfile: {type: RuntimeDefault}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: istio-token
    projected:
      sources:
        - serviceAccountToken:
            path: istio-token
            audience: {{ $values.token.audience }}
            expirationSeconds: {{ $values.token.expirationSeconds }}
  - name: istio-ca-root-cert   # istiod writes this ConfigMap into every namespace
    configMap: {name: istio-ca-root-cert}
  - name: podinfo
    downwardAPI:
      items:
        - path: labels
          fieldRef: {fieldPath: metadata.labels}
        - path: annotations
          fieldRef: {fieldPath: metadata.annotations}
{{- end -}}

{{/* The container's parts that make a member: where istiod is, who the pod is, what it shows and what it trusts. */}}
{{- define "proxyless.container" -}}
{{- $values := .root.Values -}}
image: {{ printf "%s:%s" $values.image.repository (default .root.Chart.AppVersion $values.image.tag) }}
imagePullPolicy: {{ $values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources: {{- toYaml .resources | nindent 2 }}
startupProbe:                  # the first certificate and the first configuration
  grpc: {port: 9081}
  periodSeconds: 1
  failureThreshold: 120
readinessProbe:
  grpc: {port: 9081}
  periodSeconds: 2
  timeoutSeconds: 2
livenessProbe:                 # it answers, ready or not: no restart mends an outage of istiod
  grpc: {port: 9081, service: liveness}
  periodSeconds: 10
  timeoutSeconds: 5
volumeMounts:
  - {name: istio-token, mountPath: /var/run/secrets/tokens, readOnly: true}
  - {name: istio-ca-root-cert, mountPath: /var/run/secrets/istio, readOnly: true}
  - {name: podinfo, mountPath: /etc/istio/pod, readOnly: true}
{{- end -}}

{{- define "proxyless.environment" -}}
{{- $mesh := .root.Values.mesh -}}
- {name: PROXYLESS_DISCOVERY_ADDRESS, value: {{ $mesh.discoveryAddress | quote }}}
- {name: PROXYLESS_CERTIFICATE_TTL, value: {{ $mesh.certificateTtl | quote }}}
- {name: ISTIO_META_CLUSTER_ID, value: {{ $mesh.clusterId | quote }}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: INSTANCE_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: SERVICE_ACCOUNT
  valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}
- name: ISTIO_META_NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
{{- end -}}
