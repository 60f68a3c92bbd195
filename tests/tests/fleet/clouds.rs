//! Clouds, authorities and identities of the command: what it sends to Entra, and whom it trusts.

use std::sync::Arc;

use serde_json::{Value, json};
use serverprotection_tests::{
    Error, binaries, cases, certificates::ClientCertificate, emulator::TENANT, env::Environment,
    harness::Case, team::Team,
};
use tokio::process::Command;

use super::{
    command::{Ran, secret},
    protected,
};

pub(crate) fn cases() -> Vec<Case<Environment>> {
    cases![
        each_cloud_has_its_audience,
        a_private_authority_must_be_trusted,
        the_command_signs_in_with_a_certificate,
    ]
}

/// Runs the command against the emulator with these flags and variables, and without a cluster.
async fn machines(team: &Team<'_>, flags: &[&str], variables: &[(&str, &str)]) -> Result<Ran, Error> {
    let endpoint = team.environment.emulator.endpoint();
    let output = Command::new(binaries::ours("serverprotection")?)
        .args([
            "machines",
            "--auth",
            "environment",
            "--subscription",
            &team.subscription,
        ])
        .args([
            "--resource-manager-endpoint",
            endpoint,
            "--authority-host",
            endpoint,
        ])
        .args(flags)
        .env_clear()
        .envs([("AZURE_TENANT_ID", TENANT), ("AZURE_CLIENT_ID", &team.client_id)])
        .envs(variables.iter().copied())
        .output()
        .await
        .map_err(|error| Error::Other(error.to_string()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran {
        code: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    })
}

/// The scopes of the token requests of a team. Those of the controller have the emulator's own.
async fn scopes(team: &Team<'_>) -> Result<Vec<String>, Error> {
    let all = team.environment.emulator.requests_of(&team.client_id).await?;
    let scopes = all.iter().map(|request| &request["body"]["scope"]);
    Ok(scopes.filter_map(Value::as_str).map(str::to_owned).collect())
}

fn ca(environment: &Environment) -> String {
    environment.emulator.ca().display().to_string()
}

async fn each_cloud_has_its_audience(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment
        .team_with("clouds", protected(&json!([{"name": "web-1"}])))
        .await?;
    let (ca, secret) = (ca(&environment), secret(&team));
    let with_secret = [("AZURE_CLIENT_SECRET", secret.as_str())];
    for (cloud, audience) in [
        ("public", "https://management.azure.com"),
        ("us-government", "https://management.usgovcloudapi.net"),
    ] {
        let ran = machines(&team, &["--cloud", cloud, "--extra-ca", &ca], &with_secret).await?;
        assert_eq!(ran.code, Some(0), "{cloud}: {}{}", ran.out, ran.err);
        let scopes = scopes(&team).await?;
        assert!(scopes.contains(&format!("{audience}/.default")), "{scopes:?}");
    }
    let elsewhere = ["--audience", "https://elsewhere.example", "--extra-ca", &ca];
    let ran = machines(&team, &elsewhere, &with_secret).await?;
    assert_ne!(ran.code, Some(0), "{}", ran.out);
    let text = format!("{}{}", ran.out, ran.err);
    assert!(text.contains("wrong audience"), "{text}");
    Ok(())
}

async fn a_private_authority_must_be_trusted(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment.team("private").await?;
    let secret = secret(&team);
    let ran = machines(&team, &[], &[("AZURE_CLIENT_SECRET", &secret)]).await?;
    assert_ne!(ran.code, Some(0), "{}", ran.out);
    let text = format!("{}{}", ran.out, ran.err);
    assert!(
        text.contains("azure-emulator CA") && text.contains("--extra-ca"),
        "{text}"
    );
    let asked = environment.emulator.requests_of(&team.client_id).await?;
    let by_command = asked.iter().any(|request| request["kind"] == "arm");
    assert!(!by_command, "no secret and no token without trust: {asked:#?}");
    Ok(())
}

async fn the_command_signs_in_with_a_certificate(environment: Arc<Environment>) -> Result<(), Error> {
    let team = environment
        .team_with("certcommand", protected(&json!([{"name": "web-1"}])))
        .await?;
    let certificate = ClientCertificate::valid(-3600, 3600)?;
    let path = environment
        .emulator
        .folder()
        .join(format!("{}.pem", team.namespace));
    let pem = format!("{}{}", certificate.certificate, certificate.key);
    std::fs::write(&path, pem).map_err(|error| Error::Other(error.to_string()))?;
    let (ca, path) = (ca(&environment), path.display().to_string());
    let flags = ["--audience", environment.emulator.endpoint(), "--extra-ca", &ca];
    let variables = [("AZURE_CLIENT_CERTIFICATE_PATH", path.as_str())];
    let ran = machines(&team, &flags, &variables).await?;
    assert!(
        ran.code != Some(0) && ran.err.contains("AADSTS700027"),
        "not registered: {}{}",
        ran.out,
        ran.err
    );
    let registered = json!({"keyCredentials": [{"certificatePem": certificate.certificate}]});
    environment
        .emulator
        .principal(&team.client_id, registered)
        .await?;
    let ran = machines(&team, &flags, &variables).await?;
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("web-1"), "{}", ran.out);
    Ok(())
}
