package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/argoproj/argo-cd/gitops-engine/v3/pkg/health"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A judgment is what the tools say about one object, and the row of the table.
type judgment struct {
	Situation string                  `json:"situation"`
	Kstatus   status.Status           `json:"kstatus"`
	Health    health.HealthStatusCode `json:"health"`
	Message   string                  `json:"message"`
	// Problem says in which way the object is not as the table demands.
	Problem string `json:"problem,omitempty"`
}

// judgeLines prints a judgment about each line.
func judgeLines(argo argo, table []situation, in io.Reader, out io.Writer) error {
	writer := bufio.NewWriter(out)
	encoder := json.NewEncoder(writer)
	err := eachLine(in, func(object *unstructured.Unstructured) error {
		found, err := judge(argo, table, object)
		if err != nil {
			return err
		}
		return encoder.Encode(found)
	})
	return errors.Join(err, writer.Flush())
}

// summarize prints how many objects were in each situation, and fails for those that contradict the table.
func summarize(argo argo, table []situation, in io.Reader, out io.Writer) error {
	counts := map[string]int{}
	var problems []error
	err := eachLine(in, func(object *unstructured.Unstructured) error {
		found, err := judge(argo, table, object)
		if err != nil {
			return err
		}
		if found.Problem != "" {
			problems = append(problems, errors.New(found.Problem))
		}
		counts[object.GetKind()+" "+found.Situation]++
		return nil
	})
	if len(counts) == 0 {
		problems = append(problems, errors.New("there are no objects"))
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(out, "%6d %s\n", counts[name], name)
	}
	return errors.Join(append(problems, err)...)
}

func eachLine(in io.Reader, use func(*unstructured.Unstructured) error) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(lines.Bytes()); err != nil {
			return fmt.Errorf("not an object: %w", err)
		}
		if err := use(object); err != nil {
			return err
		}
	}
	return lines.Err()
}

func judge(argo argo, table []situation, object *unstructured.Unstructured) (judgment, error) {
	computed, err := status.Compute(object)
	if err != nil {
		return judgment{}, fmt.Errorf("kstatus of %s: %w", describe(object), err)
	}
	shown, err := argo.health(object)
	if err != nil {
		return judgment{}, err
	}
	if shown == nil {
		return judgment{}, fmt.Errorf("no health check for %s", object.GetKind())
	}
	found := judgment{Kstatus: computed.Status, Health: shown.Status, Message: shown.Message}
	row, err := find(table, object)
	switch {
	case err != nil:
		found.Problem = err.Error()
	case row.Kstatus != found.Kstatus || row.Health != found.Health:
		found.Problem = fmt.Sprintf("%s: the table has %s and %s, the tools say %s and %s (%s)", row.Name, row.Kstatus,
			row.Health, found.Kstatus, found.Health, describe(object))
	}
	found.Situation = row.Name
	return found, nil
}
