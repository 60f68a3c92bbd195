package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/argoproj/argo-cd/gitops-engine/v3/pkg/health"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// A situation is a row of the table: what an object looks like, and what tools must say about it.
type situation struct {
	Name    string                  `json:"situation"`
	Kinds   []string                `json:"kinds"`
	When    appearance              `json:"when"`
	Kstatus status.Status           `json:"kstatus"`
	Health  health.HealthStatusCode `json:"health"`
}

// appearance is what decides about the situation. A member that is absent in the table matches everything.
type appearance struct {
	Deleting  *bool    `json:"deleting"`
	Suspended *bool    `json:"suspended"`
	Observed  []string `json:"observed"`  // never, older, current: the generation that status is about
	Ready     []string `json:"ready"`     // True, False, Unknown
	Reasons   []string `json:"reasons"`   // of Ready
	Secondary string   `json:"secondary"` // Reconciling, Stalled or none
}

func loadSituations(path string) ([]situation, error) {
	var table []situation
	if err := readYAML(path, &table); err != nil {
		return nil, err
	}
	for _, row := range table {
		known := slices.Contains([]status.Status{status.CurrentStatus, status.InProgressStatus, status.FailedStatus, status.TerminatingStatus}, row.Kstatus)
		if !known || row.Name == "" || len(row.Kinds) == 0 || row.Health == "" {
			return nil, fmt.Errorf("%s: incomplete row %q", path, row.Name)
		}
	}
	return table, nil
}

// find returns the first row that matches.
func find(table []situation, object *unstructured.Unstructured) (situation, error) {
	for _, row := range table {
		if slices.Contains(row.Kinds, object.GetKind()) && row.When.matches(object) {
			return row, nil
		}
	}
	return situation{}, fmt.Errorf("no situation of the table: %s", describe(object))
}

func (a appearance) matches(object *unstructured.Unstructured) bool {
	suspended, _, _ := unstructured.NestedBool(object.Object, "spec", "suspend")
	ready := condition(object, "Ready")
	return (a.Deleting == nil || *a.Deleting == (object.GetDeletionTimestamp() != nil)) &&
		(a.Suspended == nil || *a.Suspended == suspended) &&
		(a.Observed == nil || slices.Contains(a.Observed, observed(object))) &&
		(a.Ready == nil || slices.Contains(a.Ready, ready["status"])) &&
		(a.Reasons == nil || slices.Contains(a.Reasons, ready["reason"])) &&
		(a.Secondary == "" || a.Secondary == secondary(object))
}

// observed says which generation status is about. -1 is the default of the CRD for an object without status.
func observed(object *unstructured.Unstructured) string {
	switch generation := number(object.Object, "status", "observedGeneration"); {
	case generation <= 0:
		return "never"
	case generation == object.GetGeneration():
		return "current"
	default:
		return "older"
	}
}

// number reads an integer: JSON has int64, YAML may have float64.
func number(object map[string]any, path ...string) int64 {
	value, _, _ := unstructured.NestedFieldNoCopy(object, path...)
	switch value := value.(type) {
	case int64:
		return value
	case float64:
		return int64(value)
	default:
		return 0
	}
}

func condition(object *unstructured.Unstructured, kind string) map[string]string {
	found := map[string]string{}
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, entry := range conditions {
		if fields, ok := entry.(map[string]any); ok && fields["type"] == kind {
			for name, value := range fields {
				if text, ok := value.(string); ok {
					found[name] = text
				}
			}
		}
	}
	return found
}

// secondary names the conditions that tools read in addition to Ready.
func secondary(object *unstructured.Unstructured) string {
	var present []string
	for _, kind := range []string{"Reconciling", "Stalled"} {
		if len(condition(object, kind)) > 0 {
			present = append(present, kind)
		}
	}
	if len(present) == 0 {
		return "none"
	}
	return strings.Join(present, " and ")
}

func describe(object *unstructured.Unstructured) string {
	ready := condition(object, "Ready")
	return fmt.Sprintf("%s %s/%s at resourceVersion %s: status of the %s generation, Ready %s/%s, secondary %s",
		object.GetKind(), object.GetNamespace(), object.GetName(), object.GetResourceVersion(), observed(object),
		ready["status"], ready["reason"], secondary(object))
}

func parse(content []byte) (*unstructured.Unstructured, error) {
	// As the clients of the API server do: integers stay integers.
	json, err := yaml.YAMLToJSON(content)
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{}
	return object, object.UnmarshalJSON(json)
}
