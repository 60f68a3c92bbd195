// Judges objects of serverprotection.dev as GitOps tools do: with Flux's kstatus, and with Argo CD's health checks in
// Argo CD's own Lua interpreter. Compares both with the table of situations.
//
//	judge statuses <objects.jsonl   prints what the tools say about each object, as JSON lines
//	judge summary <objects.jsonl    prints how many there are in each situation, fails if one contradicts the table
//	judge customizations            runs the tests of deploy/gitops/argocd as Argo CD's repository runs them
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", ".", "root of the repository")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: judge [-root FOLDER] statuses <objects.jsonl | summary <objects.jsonl | customizations")
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := run(*root, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(1)
	}
}

func run(root string, arguments []string) error {
	if len(arguments) != 1 {
		flag.Usage()
		return fmt.Errorf("want one command, got %q", arguments)
	}
	argo, err := loadArgo(filepath.Join(root, "deploy/gitops/argocd/argocd-cm.yaml"))
	if err != nil {
		return err
	}
	situations, err := loadSituations(filepath.Join(root, "tests/gitops/judge/situations.yaml"))
	if err != nil {
		return err
	}
	switch arguments[0] {
	case "statuses":
		return judgeLines(argo, situations, os.Stdin, os.Stdout)
	case "summary":
		return summarize(argo, situations, os.Stdin, os.Stdout)
	case "customizations":
		folder := filepath.Join(root, "deploy/gitops/argocd/resource_customizations")
		return checkCustomizations(argo, situations, folder, filepath.Join(root, "crds"))
	default:
		return fmt.Errorf("unknown command %q", arguments[0])
	}
}
