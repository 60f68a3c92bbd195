//! What the input may contain.

use std::fs;

use super::*;

const SUBSCRIPTION: &str = "6f1c0d7e-0000-0000-0000-000000000001";

fn parse(text: &str) -> Result<Input, CliError> {
    Input::parse(&[Text::new("fleet.yaml", text)])
}

fn protection(name: &str, subscription: &str, rest: &str) -> String {
    format!(
        "apiVersion: serverprotection.dev/v1alpha1\nkind: ServerProtection\nmetadata: {{name: {name}, namespace: team}}\n\
         spec:\n  subscriptionId: {subscription}\n  plan: {{tier: P2}}\n{rest}"
    )
}

const CREDENTIAL: &str = "
apiVersion: serverprotection.dev/v1alpha1
kind: AzureCredential
metadata: {name: azure, namespace: team}
spec:
  tenantId: 00000000-0000-0000-0000-00000000000a
  clientId: 00000000-0000-0000-0000-00000000000b
  type: ClientSecret
  clientSecret: {secretRef: {name: sp, key: secret}}
";

#[test]
fn objects_are_read_from_several_documents_and_others_are_noted() {
    let text = [
        protection(
            "one",
            SUBSCRIPTION,
            "  credentialRef: {kind: AzureCredential, name: azure}\n  machines:\n    minimumProtectedPercent: 95\n    exclude: [{name: lab, resourceGroups: [rg-lab]}]\n",
        ),
        "---\n".into(),
        protection("two", SUBSCRIPTION, ""),
        "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n---\n".into(),
        CREDENTIAL.into(),
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: sp, namespace: team}\nstringData: {secret: s3cret}\n".into(),
    ]
    .concat();
    let input = parse(&text).unwrap();
    assert_eq!(input.protections.len(), 1);
    let one = &input.protections[0];
    assert_eq!(one.subscription, SUBSCRIPTION);
    assert_eq!(one.machines.minimum_protected_percent, 95);
    assert_eq!(one.machines.exclude[0].name, "lab");
    let key = one.credential.clone().unwrap();
    assert!(matches!(
        input.credentials[&key],
        Ok(Identity::ClientSecret { .. })
    ));
    assert_eq!(input.notes.len(), 2, "{:?}", input.notes);
    assert!(input.notes[0].contains("two") && input.notes[1].contains("1 Namespace"));
    assert!(!format!("{input:?}").contains("s3cret"));
}

#[test]
fn a_list_as_kubectl_writes_it_is_read() {
    let object = protection("one", SUBSCRIPTION, "");
    let object: Value = serde_saphyr::from_str(&object).unwrap();
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [object]});
    assert_eq!(parse(&list.to_string()).unwrap().protections.len(), 1);
}

#[test]
fn secrets_are_found_as_text_and_as_base64() {
    let secret = |data: &str| {
        format!(
            "{CREDENTIAL}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: sp, namespace: team}}\n{data}\n"
        )
    };
    for (text, expected_text) in [
        (secret("data: {secret: czNjcmV0}"), None),
        (secret("stringData: {secret: s3cret}"), None),
        (secret("data: {other: czNjcmV0}"), Some("has no key secret")),
        (CREDENTIAL.into(), Some("is not in the input")),
    ] {
        let input = parse(&text).unwrap();
        let credential = input.credentials.values().next().unwrap();
        match (credential, expected_text) {
            (Ok(_), None) => {}
            (Err(error), Some(expected_text)) => assert!(error.contains(expected_text), "{error}"),
            other => panic!("{other:?}"),
        }
    }
    let error = parse(&secret("data: {secret: '!s3cret!'}")).unwrap_err();
    assert!(error.problem.contains("Secret sp"), "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[test]
fn a_client_certificate_is_found_with_its_key() {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let certificate = rcgen::CertificateParams::default()
        .self_signed(&key)
        .unwrap()
        .pem();
    let credential = CREDENTIAL.replace("ClientSecret", "ClientCertificate").replace(
        "clientSecret: {secretRef: {name: sp, key: secret}}",
        "clientCertificate: {secretRef: {name: sp}}",
    );
    let with = |certificate: &str, key: &str| {
        let secret = serde_json::json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": "sp", "namespace": "team"}, "stringData": {"tls.crt": certificate, "tls.key": key}});
        let input = parse(&format!("{credential}---\n{secret}\n")).unwrap();
        input.credentials.into_values().next().unwrap()
    };
    let key = key.serialize_pem();
    assert!(matches!(
        with(&certificate, &key),
        Ok(Identity::ClientCertificate { .. })
    ));
    let error = with(&certificate, "geheim").unwrap_err();
    assert_eq!(
        error,
        "The key tls.key of Secret sp contains no private key in PEM format"
    );
    let absent = parse(&credential)
        .unwrap()
        .credentials
        .into_values()
        .next()
        .unwrap();
    assert!(absent.unwrap_err().contains("is not in the input"));
}

#[test]
fn an_error_names_file_object_and_field() {
    for (text, expected_parts) in [
        ("a: [", &["fleet.yaml", "YAML"][..]),
        ("hello: world", &["fleet.yaml, document 1", "kind"]),
        (
            &protection("one", "contoso", ""),
            &["ServerProtection one", "spec.subscriptionId"],
        ),
        (
            &protection("one", SUBSCRIPTION, "  machines: {gracePeriod: 1s}\n"),
            &["ServerProtection one", "spec.machines.gracePeriod"],
        ),
        (
            &protection(
                "one",
                SUBSCRIPTION,
                "  machines: {minimumProtectedPercent: 101}\n",
            ),
            &["ServerProtection one", "spec.machines.minimumProtectedPercent"],
        ),
        (
            &CREDENTIAL.replace("ClientSecret", "Password"),
            &["AzureCredential azure"],
        ),
    ] {
        let error = parse(text).unwrap_err();
        for part in expected_parts {
            assert!(error.problem.contains(part), "{part}: {error}");
        }
    }
}

#[test]
fn a_credential_of_the_cluster_is_not_the_one_of_the_namespace() {
    let reference = "  credentialRef: {kind: ClusterAzureCredential, name: azure}\n";
    let object = protection("one", SUBSCRIPTION, reference);
    let input = parse(&format!("{object}---\n{CREDENTIAL}")).unwrap();
    let key = input.protections[0].credential.clone().unwrap();
    assert_eq!(key, ("ClusterAzureCredential".into(), "azure".into()));
    assert!(!input.credentials.contains_key(&key));
}

#[test]
fn a_folder_is_read_in_order_and_without_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let other = SUBSCRIPTION.replace("0001", "0002");
    fs::write(folder.path().join("b.yaml"), protection("b", SUBSCRIPTION, "")).unwrap();
    fs::write(folder.path().join("a.yml"), protection("a", &other, "")).unwrap();
    fs::write(folder.path().join("README.md"), "# no object").unwrap();
    let input = Input::read(&[folder.path().to_owned()], false).unwrap();
    let found: Vec<_> = input
        .protections
        .iter()
        .map(|one| one.subscription.as_str())
        .collect();
    assert_eq!(found, [other.as_str(), SUBSCRIPTION]);
    assert!(Input::read(&[folder.path().join("none.yaml")], false).is_err());
}
