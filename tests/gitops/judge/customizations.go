package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/argoproj/argo-cd/gitops-engine/v3/pkg/health"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

type healthTests struct {
	Tests []struct {
		InputPath    string               `json:"inputPath"`
		HealthStatus *health.HealthStatus `json:"healthStatus"`
	} `json:"tests"`
}

// checkCustomizations runs the tests in the layout of Argo CD's repository, for every kind of our definitions, and
// expects one for every situation of the kind.
func checkCustomizations(argo argo, table []situation, folder, definitions string) error {
	kinds, err := kindsOf(definitions)
	if err != nil {
		return err
	}
	var problems []error
	passed := 0
	for _, kind := range kinds {
		check := customization{argo: argo, table: table, folder: filepath.Join(folder, kind), kind: kind}
		check.healthOf()
		check.actionsOf()
		passed += check.passed
		problems = append(problems, check.problems...)
	}
	folders, err := filepath.Glob(filepath.Join(folder, "*", "*"))
	if err != nil {
		return err
	}
	for _, path := range folders {
		kind, _ := filepath.Rel(folder, path)
		if !slices.Contains(kinds, kind) {
			problems = append(problems, fmt.Errorf("%s: no definition of this kind in crds/", kind))
		}
	}
	fmt.Printf("%d passed, %d failed\n", passed, len(problems))
	return errors.Join(problems...)
}

// kindsOf lists GROUP/KIND of every definition.
func kindsOf(folder string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var kinds []string
	for _, path := range paths {
		var definition struct {
			Spec struct {
				Group string `json:"group"`
				Names struct {
					Kind string `json:"kind"`
				} `json:"names"`
			} `json:"spec"`
		}
		if err := readYAML(path, &definition); err != nil {
			return nil, err
		}
		kinds = append(kinds, definition.Spec.Group+"/"+definition.Spec.Names.Kind)
	}
	if len(kinds) == 0 {
		return nil, fmt.Errorf("%s has no definitions", folder)
	}
	return kinds, nil
}

// customization is the folder of one kind.
type customization struct {
	argo     argo
	table    []situation
	folder   string
	kind     string
	passed   int
	problems []error
}

func (c *customization) test(name string, problem error) {
	if problem == nil {
		c.passed++
		return
	}
	c.problems = append(c.problems, fmt.Errorf("%s %s: %w", c.kind, name, problem))
}

func (c *customization) healthOf() {
	if c.argo.overrides[c.kind].HealthLua == "" {
		c.test("health.lua", errors.New("argocd-cm.yaml has no health check of this kind"))
		return
	}
	var tests healthTests
	if err := readYAML(filepath.Join(c.folder, "health_test.yaml"), &tests); err != nil {
		c.test("health_test.yaml", err)
		return
	}
	covered := map[string]bool{}
	for _, test := range tests.Tests {
		object, err := c.object(test.InputPath)
		if err != nil {
			c.test(test.InputPath, err)
			continue
		}
		returned, err := c.argo.vm.ExecuteHealthLua(object, c.argo.overrides[c.kind].HealthLua)
		if err == nil {
			err = equal(returned, test.HealthStatus)
		}
		c.test(test.InputPath, err)
		found, err := judge(c.argo, c.table, object)
		if err == nil && found.Problem != "" {
			err = errors.New(found.Problem)
		}
		// The file has the name of the situation, and more after it if there are several.
		if name := filepath.Base(test.InputPath); err == nil && name != found.Situation+".yaml" && !strings.HasPrefix(name, found.Situation+"-") {
			err = fmt.Errorf("the object is in situation %s", found.Situation)
		}
		c.test(test.InputPath+" (table)", err)
		covered[found.Situation] = true
	}
	for _, row := range c.table {
		if slices.Contains(row.Kinds, filepath.Base(c.kind)) && !covered[row.Name] {
			c.test("health_test.yaml", fmt.Errorf("no test of the situation %s", row.Name))
		}
	}
	c.noneLeftOut("testdata", func(path string) bool {
		for _, test := range tests.Tests {
			if test.InputPath == path {
				return true
			}
		}
		return false
	})
}

// noneLeftOut fails for a file that no test uses.
func (c *customization) noneLeftOut(folder string, used func(string) bool) {
	entries, err := os.ReadDir(filepath.Join(c.folder, folder))
	if err != nil {
		c.test(folder, err)
		return
	}
	for _, entry := range entries {
		if path := "testdata/" + entry.Name(); !used(path) {
			c.test(filepath.Join(folder, entry.Name()), errors.New("no test uses this file"))
		}
	}
}

func (c *customization) object(path string) (*unstructured.Unstructured, error) {
	content, err := os.ReadFile(filepath.Join(c.folder, path))
	if err != nil {
		return nil, err
	}
	object, err := parse(content)
	if err != nil {
		return nil, err
	}
	if kind := object.GroupVersionKind().Group + "/" + object.GetKind(); kind != c.kind {
		return nil, fmt.Errorf("the object is a %s", kind)
	}
	return object, nil
}
