package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	appv1 "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const requestedAt = "serverprotection.dev/reconcile-requested-at"

type actionTests struct {
	DiscoveryTests []struct {
		InputPath string                 `json:"inputPath"`
		Result    []appv1.ResourceAction `json:"result"`
	} `json:"discoveryTests"`
	ActionTests []struct {
		Action             string `json:"action"`
		InputPath          string `json:"inputPath"`
		ExpectedOutputPath string `json:"expectedOutputPath"`
	} `json:"actionTests"`
}

func (c *customization) actionsOf() {
	override := c.argo.overrides[c.kind]
	actions, err := override.GetActions()
	if err == nil && actions.ActionDiscoveryLua == "" {
		err = errors.New("argocd-cm.yaml has no actions of this kind")
	}
	if err != nil {
		c.test("actions", err)
		return
	}
	var tests actionTests
	if err := readYAML(filepath.Join(c.folder, "actions", "action_test.yaml"), &tests); err != nil {
		c.test("actions/action_test.yaml", err)
		return
	}
	used := map[string]bool{}
	// By action: whether a test sees it enabled, and disabled.
	enabled, disabled, ran := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, test := range tests.DiscoveryTests {
		used[test.InputPath] = true
		c.test("discovery "+test.InputPath, c.discovers(test.InputPath, test.Result))
		for _, action := range test.Result {
			enabled[action.Name] = enabled[action.Name] || !action.Disabled
			disabled[action.Name] = disabled[action.Name] || action.Disabled
		}
	}
	for _, test := range tests.ActionTests {
		used[test.InputPath], used[test.ExpectedOutputPath], ran[test.Action] = true, true, true
		c.test(test.Action+" "+test.InputPath, c.acts(test.Action, test.InputPath, test.ExpectedOutputPath))
	}
	var defined []string
	for _, action := range actions.Definitions {
		defined = append(defined, action.Name)
		if !enabled[action.Name] || !disabled[action.Name] || !ran[action.Name] {
			c.test("actions/action_test.yaml", fmt.Errorf("%s is not tested in each way: enabled, disabled, run", action.Name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(enabled)) {
		if !slices.Contains(defined, name) {
			c.test("actions", fmt.Errorf("%s has no action.lua", name))
		}
	}
	c.noneLeftOut("actions/testdata", func(path string) bool { return used[path] })
}

func (c *customization) discovers(path string, expected []appv1.ResourceAction) error {
	object, err := c.object(filepath.Join("actions", path))
	if err != nil {
		return err
	}
	scripts, err := c.argo.vm.GetResourceActionDiscovery(object)
	if err != nil {
		return err
	}
	// Argo CD keeps the default actions of a kind beside those of argocd-cm only with mergeBuiltinActions.
	found, err := c.argo.vm.ExecuteResourceActionDiscovery(object, scripts)
	if err != nil {
		return err
	}
	byName := func(a, b appv1.ResourceAction) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(found, byName)
	slices.SortFunc(expected, byName)
	return equal(found, expected)
}

func (c *customization) acts(action, input, output string) error {
	object, err := c.object(filepath.Join("actions", input))
	if err != nil {
		return err
	}
	expected, err := c.object(filepath.Join("actions", output))
	if err != nil {
		return err
	}
	script, err := c.argo.vm.GetResourceAction(object, action)
	if err != nil {
		return err
	}
	impacted, err := c.argo.vm.ExecuteResourceAction(object, script.ActionLua, nil)
	if err != nil {
		return err
	}
	if len(impacted) != 1 || impacted[0].K8SOperation != lua.PatchOperation {
		return fmt.Errorf("the action does something else than one patch: %+v", impacted)
	}
	found := impacted[0].UnstructuredObj
	if action == "reconcile" {
		if err := replaceTime(found, expected.GetAnnotations()[requestedAt]); err != nil {
			return err
		}
	}
	return equal(found, expected)
}

// replaceTime replaces the current time in the annotation of a requested reconcile.
func replaceTime(object *unstructured.Unstructured, by string) error {
	annotations := object.GetAnnotations()
	requested, err := time.Parse(time.RFC3339, annotations[requestedAt])
	if err != nil {
		return err
	}
	if age := time.Since(requested); age < 0 || age > time.Minute {
		return fmt.Errorf("the annotation has the time %s", requested)
	}
	annotations[requestedAt] = by
	object.SetAnnotations(annotations)
	return nil
}

func equal(found, expected any) error {
	a, err := json.Marshal(found)
	if err != nil {
		return err
	}
	b, err := json.Marshal(expected)
	if err != nil {
		return err
	}
	if string(a) != string(b) {
		return fmt.Errorf("found %s, expected %s", a, b)
	}
	return nil
}
