//! The resource providers of Azure Arc: who reads and registers them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serverprotection_core::{
    security_connector::arc_providers::ArcProvider, server_protection::observed::RegistrationState,
};

use super::*;

/// A stub with the registrations by namespace, in lower case.
async fn stub(states: &[(&str, &'static str)]) -> Stub {
    let stub = with_connector("aws").await;
    let states = states.iter().map(|(name, state)| (name.to_lowercase(), *state));
    let states: Arc<Mutex<BTreeMap<String, &str>>> = Arc::new(Mutex::new(states.collect()));
    stub.fault(move |request| {
        let what = request.what.to_lowercase();
        let (method, path) = what.split_once(' ').unwrap();
        let parts: Vec<_> = path.split('/').collect();
        let mut states = states.lock().unwrap();
        match (method, parts.as_slice()) {
            ("get", ["", "subscriptions", _, "providers", namespace]) => {
                let state = states.get(*namespace).copied().unwrap_or("Registered");
                Some(answer(200, &json!({ "registrationState": state })))
            }
            ("post", ["", "subscriptions", _, "providers", namespace, "register"]) => {
                states.insert((*namespace).to_owned(), "Registering");
                Some(answer(200, &json!({ "registrationState": "Registering" })))
            }
            _ => None,
        }
    });
    stub
}

const PROVIDERS: Reads = Reads {
    resource_group: false,
    others: false,
    health: false,
    permissions: false,
    arc_providers: true,
    fresh: false,
};

fn register(provider: ArcProvider) -> Change {
    Change {
        action: Action::RegisterProvider(provider),
        fields: Vec::new(),
    }
}

fn about_providers(stub: &Stub) -> Vec<String> {
    let mut asked = stub.asked();
    asked.retain(|what| what.contains("/s/providers/Microsoft."));
    asked
}

#[tokio::test]
async fn connectors_of_one_subscription_share_the_reads_and_the_registrations() {
    let stub = stub(&[("Microsoft.GuestConfiguration", "NotRegistered")]).await;
    let client = stub.client();
    let (one, two) = (target("s", "aws"), target("s", "gcp"));
    let (first, second) = tokio::join!(
        client.observe_connector(&one, &PROVIDERS),
        client.observe_connector(&two, &PROVIDERS),
    );
    let found = first.arc_providers.unwrap().unwrap();
    assert_eq!(
        found[&ArcProvider::GuestConfiguration],
        RegistrationState::NotRegistered
    );
    assert_eq!(found[&ArcProvider::Compute], RegistrationState::Registered);
    assert_eq!(second.arc_providers.unwrap().unwrap(), found);
    assert_eq!(about_providers(&stub).len(), 4);

    let (changes, permit) = ([register(ArcProvider::GuestConfiguration)], permit());
    let (first, second) = tokio::join!(
        client.apply_connector(&one, &changes, &permit),
        client.apply_connector(&two, &changes, &permit),
    );
    assert_eq!((first.done.len(), second.done.len()), (1, 1));
    assert_eq!(
        about_providers(&stub),
        ["POST /s/providers/Microsoft.GuestConfiguration/register"]
    );
}

#[tokio::test]
async fn a_requested_reconcile_reads_the_registrations_again() {
    let stub = stub(&[("Microsoft.HybridCompute", "NotRegistered")]).await;
    let client = stub.client();
    client.observe_connector(&target("s", "aws"), &PROVIDERS).await;
    tokio::time::sleep(std::time::Duration::from_millis(3200)).await;
    stub.asked();
    client.observe_connector(&target("s", "aws"), &PROVIDERS).await;
    assert_eq!(about_providers(&stub).len(), 0);
    let fresh = Reads {
        fresh: true,
        ..PROVIDERS
    };
    client.observe_connector(&target("s", "aws"), &fresh).await;
    assert_eq!(about_providers(&stub).len(), 4);
}
