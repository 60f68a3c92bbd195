package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/argoproj/argo-cd/gitops-engine/v3/pkg/health"
	appv1 "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// argo is an Argo CD whose argocd-cm has our customizations. Like there, their Lua runs without the standard libraries.
type argo struct {
	overrides lua.ResourceHealthOverrides
	vm        lua.VM
}

// loadArgo reads the keys resource.customizations.health.GROUP_KIND and resource.customizations.actions.GROUP_KIND.
func loadArgo(path string) (argo, error) {
	var configMap struct {
		Data map[string]string `json:"data"`
	}
	if err := readYAML(path, &configMap); err != nil {
		return argo{}, err
	}
	overrides := map[string]appv1.ResourceOverride{}
	for key, value := range configMap.Data {
		parts := strings.SplitN(key, ".", 4)
		if len(parts) != 4 || parts[0] != "resource" || parts[1] != "customizations" {
			return argo{}, fmt.Errorf("%s: unexpected key %s", path, key)
		}
		kind := strings.Replace(parts[3], "_", "/", 1)
		override := overrides[kind]
		switch parts[2] {
		case "health":
			override.HealthLua = value
		case "actions":
			override.Actions = value
		default:
			return argo{}, fmt.Errorf("%s: unexpected key %s", path, key)
		}
		overrides[kind] = override
	}
	return argo{overrides: overrides, vm: lua.VM{ResourceOverrides: overrides}}, nil
}

// health is what the user interface shows, including the rules for objects that are being deleted. nil: no check.
func (a argo) health(object *unstructured.Unstructured) (*health.HealthStatus, error) {
	return health.GetResourceHealth(object, a.overrides)
}

func readYAML(path string, into any) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(content, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
