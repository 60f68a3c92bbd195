//! A GCP project.

use super::*;

#[test]
fn terraform_for_a_project_has_pool_providers_accounts_and_grants() {
    let text = whole(gcp(), "--output terraform");
    let blocks = blocks(&text);
    for expected in [
        "resource google_iam_workload_identity_pool defender",
        "resource google_iam_workload_identity_pool_provider cspm",
        "resource google_iam_workload_identity_pool_provider servers",
        "resource google_service_account cspm",
        "resource google_service_account servers",
        "resource google_service_account arc",
        "resource google_service_account_iam_member arc_used",
        "resource google_project_iam_custom_role agentless_scanning",
        "resource google_project_iam_member microsoft_1",
    ] {
        assert!(blocks.contains(&expected.to_owned()), "{expected}: {blocks:#?}");
    }
    assert!(!text.contains("organization_id"), "{text}");
    // A binding would remove all other members.
    assert!(!text.contains("iam_binding"));
    let organization = whole(gcp_organization(), "--output terraform");
    assert!(organization.contains("variable \"organization_id\""));
    assert!(organization.contains("resource \"google_organization_iam_member\" \"onboarding_1\""));
    assert!(!organization.contains("google_project_iam_member"));
}

#[test]
fn the_script_of_a_project_calls_for_everything_once() {
    let text = whole(gcp(), "--output gcloud");
    assert!(text.starts_with("#!/usr/bin/env bash\n"));
    let calls = |word: &str| text.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!(calls("set -euo pipefail"), 1);
    assert_eq!(calls("provider "), 2);
    assert_eq!(calls("custom_role "), 2);
    assert_eq!(calls("service_account "), 3);
    assert_eq!(calls("grant "), 6);
    assert_eq!(calls("allow_acting_as "), 3);
    assert!(!text.contains("--organization"));
    let organization = whole(gcp_organization(), "--output gcloud");
    assert!(organization.contains("provider auto-provisioner api://d17a7d74-7e73-4e7d-bd41-8d9525e86cab\n"));
    assert!(organization.contains("role_scope=(\"--organization=$organization\")"));
}
