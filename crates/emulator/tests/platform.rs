//! ARM itself: sign-in, order of checks, roles, registration, throttling, locks and policies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends there"
)]

mod bench;

use bench::{Bench, PLAN, VA};
use serde_json::{Value, json};
use serverprotection_emulator::state::{DEFAULT_CLIENT, DEFAULT_SUBSCRIPTION, DEFAULT_TENANT};

#[tokio::test]
async fn wrong_sign_ins_are_refused() {
    let bench = Bench::new().await;
    let number = async |tenant: &str, client: &str, secret: &str| {
        let got = bench
            .token_request(tenant, &[("client_id", client), ("client_secret", secret)])
            .await;
        (got.status, got.body["error_codes"][0].as_u64().unwrap())
    };
    assert_eq!(
        number("22222222-2222-2222-2222-222222222222", DEFAULT_CLIENT, "x").await,
        (400, 90002)
    );
    assert_eq!(
        number(DEFAULT_TENANT, "99999999-9999-9999-9999-999999999999", "x").await,
        (400, 700_016)
    );
    assert_eq!(
        number(DEFAULT_TENANT, DEFAULT_CLIENT, "wrong").await,
        (401, 7_000_215)
    );
    let metadata = bench
        .path("GET", "/metadata/endpoints?api-version=2022-09-01", None)
        .await;
    assert!(metadata.body.is_object());
    assert!(
        bench
            .path("GET", "/metadata/endpoints?api-version=2019-05-01", None)
            .await
            .body
            .is_array()
    );
    let openid = bench
        .path("GET", "/common/v2.0/.well-known/openid-configuration", None)
        .await;
    assert_eq!(
        openid.body["token_endpoint"],
        format!("{}/common/oauth2/v2.0/token", bench.url)
    );
    let keys = bench.path("GET", "/common/discovery/v2.0/keys", None).await;
    assert_eq!(keys.body["keys"][0]["kty"], "RSA");
}

#[tokio::test]
async fn checks_come_in_the_order_of_the_service() {
    let mut bench = Bench::seeded(
        "subscriptions: [{subscriptionId: 00000000-0000-0000-0000-000000000002}, \
         {subscriptionId: 00000000-0000-0000-0000-000000000009, tenantId: 99999999-1111-1111-1111-111111111111}]",
    )
    .await;
    let good = std::mem::replace(&mut bench.token, "nonsense".into());
    let invalid = bench.ask("GET", PLAN, None).await;
    assert_eq!(
        (invalid.status, invalid.code()),
        (401, "InvalidAuthenticationToken")
    );
    assert!(invalid.header("www-authenticate").contains(DEFAULT_TENANT));
    bench.token = good;
    let bare = bench
        .ask("GET", "providers/Microsoft.Security/pricings", None)
        .await;
    assert_eq!(bare.code(), "MissingApiVersionParameter");
    assert_eq!(
        bench.ask("GET", "?api-version=new", None).await.code(),
        "InvalidApiVersionParameter"
    );
    let missing = bench
        .at("00000000-0000-0000-0000-0000000000ff", "GET", PLAN, None)
        .await;
    assert_eq!((missing.status, missing.code()), (404, "SubscriptionNotFound"));
    assert_eq!(missing.header("x-ms-failure-cause"), "gateway");
    let foreign = bench
        .at("00000000-0000-0000-0000-000000000009", "GET", PLAN, None)
        .await;
    assert_eq!(
        (foreign.status, foreign.code()),
        (401, "InvalidAuthenticationTokenTenant")
    );
    let denied = bench
        .at(
            "00000000-0000-0000-0000-000000000002",
            "PUT",
            PLAN,
            Some(json!({})),
        )
        .await;
    assert_eq!((denied.status, denied.code()), (403, "AuthorizationFailed"));
    assert!(
        denied
            .message()
            .contains("to perform action 'Microsoft.Security/pricings/write' over scope")
    );
    bench
        .set(json!({"providers.Microsoft.Security": "NotRegistered"}))
        .await;
    for (kind, status) in [("nothing", 404), ("settings", 401)] {
        let path = format!("providers/Microsoft.Security/{kind}?api-version=2022-05-01");
        let unregistered = bench.ask("GET", &path, None).await;
        assert_eq!(
            (unregistered.status, unregistered.code()),
            (status, "Subscription Not Registered")
        );
    }
    bench.switch("unregisteredProvider", "alternate").await;
    let unregistered = bench
        .ask(
            "GET",
            "providers/Microsoft.Security/nothing?api-version=2024-01-01",
            None,
        )
        .await;
    assert_eq!(
        (unregistered.status, unregistered.code()),
        (409, "MissingSubscriptionRegistration")
    );
    assert_eq!(
        unregistered.body["error"]["details"][0]["target"],
        "Microsoft.Security"
    );
    bench
        .set(json!({"providers.Microsoft.Security": "Registered"}))
        .await;
    let unknown = bench
        .ask(
            "GET",
            "providers/Microsoft.Security/nothing?api-version=2024-01-01",
            None,
        )
        .await;
    assert_eq!((unknown.status, unknown.code()), (404, "InvalidResourceType"));
    let version = bench
        .ask("GET", &PLAN.replace("2024-01-01", "2021-06-22"), None)
        .await;
    assert_eq!(
        (version.status, version.code()),
        (400, "NoRegisteredProviderFound")
    );
    let absent = bench.ask("GET", VA, None).await;
    assert_eq!((absent.status, absent.code()), (404, "ResourceNotFound"));
    let invariants = bench.breaches().await;
    assert!(
        invariants.iter().all(|invariant| invariant == "UnknownRoute"),
        "{invariants:?}"
    );
}

#[tokio::test]
async fn a_token_has_an_audience_and_an_end() {
    let mut bench = Bench::new().await;
    bench
        .control("PUT", "options", json!({"tokenLifetime": "1s"}))
        .await;
    bench.token = bench.sign_in(DEFAULT_TENANT, DEFAULT_CLIENT, "s3cret").await;
    assert_eq!(bench.ask("GET", PLAN, None).await.status, 200);
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    assert_eq!(
        bench.ask("GET", PLAN, None).await.code(),
        "ExpiredAuthenticationToken"
    );
    bench
        .control("PUT", "options", json!({"tokenLifetime": "1h"}))
        .await;
    let form = format!(
        "grant_type=client_credentials&client_id={DEFAULT_CLIENT}&client_secret=s3cret&scope=https://graph.microsoft.com/.default"
    );
    let got = bench
        .http
        .post(format!("{}/{DEFAULT_TENANT}/oauth2/v2.0/token", bench.url))
        .body(form)
        .send()
        .await;
    let body: Value = got.unwrap().json().await.unwrap();
    bench.token = body["access_token"].as_str().unwrap().into();
    assert_eq!(
        bench.ask("GET", PLAN, None).await.code(),
        "InvalidAuthenticationToken"
    );
}

#[tokio::test]
async fn lists_have_headers_and_odd_paths_work() {
    let bench = Bench::new().await;
    let list = bench
        .path("GET", "/subscriptions?api-version=2022-12-01", None)
        .await;
    assert_eq!(list.body["count"]["value"], 1);
    assert_eq!(list.body["value"][0]["displayName"], "Contoso Production");
    assert_eq!(
        bench
            .path("GET", "/tenants?api-version=2016-06-01", None)
            .await
            .body["value"][0]["tenantId"],
        DEFAULT_TENANT
    );
    let encoded = format!("/%2Fsubscriptions%2F{DEFAULT_SUBSCRIPTION}/{PLAN}");
    let got = bench.path("GET", &encoded, None).await;
    assert_eq!(got.status, 200);
    assert_eq!(
        got.header("x-ms-ratelimit-remaining-subscription-resource-requests"),
        "749"
    );
    assert_eq!(got.header("api-supported-versions"), "1.0");
    assert!(got.header("x-ms-routing-request-id").starts_with("WESTEUROPE:"));
    let permissions = bench
        .ask(
            "GET",
            "providers/Microsoft.Authorization/permissions?api-version=2022-04-01",
            None,
        )
        .await;
    assert_eq!(permissions.body["value"][0]["actions"], json!(["*"]));
    assert_eq!(
        bench
            .ask("GET", "locations?api-version=2022-12-01", None)
            .await
            .status,
        200
    );
    let group = "resourcegroups/RG1?api-version=2024-11-01";
    assert_eq!(
        bench.ask("GET", group, None).await.code(),
        "ResourceGroupNotFound"
    );
    assert_eq!(
        bench
            .ask("PUT", group, Some(json!({"location": "West Europe"})))
            .await
            .status,
        201
    );
    assert_eq!(bench.ask("HEAD", group, None).await.status, 204);
}

#[tokio::test]
async fn registration_takes_its_time() {
    let bench = Bench::new().await;
    bench
        .control("PUT", "options", json!({"registrationTime": "1s"}))
        .await;
    bench
        .set(json!({"providers.Microsoft.Security": "NotRegistered"}))
        .await;
    let state = async || {
        let got = bench
            .ask("GET", "providers/Microsoft.Security?api-version=2021-04-01", None)
            .await;
        got.body["registrationState"].as_str().unwrap().to_owned()
    };
    assert_eq!(state().await, "NotRegistered");
    let register = "providers/Microsoft.Security/register?api-version=2021-04-01";
    let posted = bench.ask("POST", register, None).await;
    assert_eq!(
        (posted.status, posted.body["registrationState"].as_str()),
        (200, Some("Registering"))
    );
    let early = bench.ask("GET", PLAN, None).await;
    assert_eq!((early.status, early.code()), (404, "Subscription Not Registered"));
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(state().await, "Registered");
    bench
        .set(json!({"registrationStuck": true, "providers.Microsoft.Security": "Registering"}))
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(state().await, "Registering");
}

#[tokio::test]
async fn locks_policies_and_disabled_subscriptions_refuse_writes() {
    let bench = Bench::new().await;
    let p2 = json!({"pricingTier": "Standard", "subPlan": "P2"});
    bench.set(json!({"lockLevel": "ReadOnly"})).await;
    assert_eq!(bench.put_plan(p2.clone()).await.code(), "ScopeLocked");
    bench
        .set(json!({"lockLevel": null, "denyPolicyAssignment": "no-defender"}))
        .await;
    let denied = bench.put_plan(p2.clone()).await;
    assert_eq!((denied.status, denied.code()), (403, "RequestDisallowedByPolicy"));
    let info = &denied.body["error"]["additionalInfo"][0];
    assert_eq!(info["type"], "PolicyViolation");
    assert_eq!(info["info"]["policyAssignmentName"], "no-defender");
    bench
        .set(json!({"denyPolicyAssignment": null, "state": "Disabled"}))
        .await;
    let disabled = bench.put_plan(p2.clone()).await;
    assert_eq!(
        (disabled.status, disabled.code()),
        (409, "ReadOnlyDisabledSubscription")
    );
    assert_eq!(bench.ask("GET", PLAN, None).await.status, 200);
    bench.set(json!({"state": "Enabled"})).await;
    assert_eq!(bench.put_plan(p2).await.status, 200);
}

#[tokio::test]
async fn an_early_retry_is_throttled_again() {
    let mut bench = Bench::new().await;
    bench.user_agent = "serverprotection/1.0.0 (first)".into();
    let mut throttled = None;
    for _ in 0..2000 {
        let got = bench.ask("GET", PLAN, None).await;
        if got.status == 429 {
            throttled = Some(got);
            break;
        }
    }
    let throttled = throttled.expect("750 reads in five minutes, 250 at once");
    let wait: u64 = throttled.header("retry-after").parse().unwrap();
    assert!(wait >= 1);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    // Another process of the same identity was not told.
    bench.user_agent = "serverprotection/1.0.0 (second)".into();
    assert_eq!(bench.ask("GET", PLAN, None).await.status, 429);
    assert!(bench.breaches().await.is_empty());
    bench.user_agent = "serverprotection/1.0.0 (first)".into();
    let again = bench.ask("GET", PLAN, None).await;
    assert_eq!(again.status, 429);
    assert_eq!(bench.breaches().await, ["RetryAfterIgnored"]);
}

#[tokio::test]
async fn the_assessment_is_created_and_deleted() {
    let bench = Bench::new().await;
    let body = json!({"kind": "AzureServersSetting", "properties": {"selectedProvider": "MdeTvm"}});
    let kindless = json!({"properties": {"selectedProvider": "MdeTvm"}});
    assert_eq!(bench.ask("PUT", VA, Some(kindless)).await.status, 400);
    let upper = VA.replace("azureServers", "AzureServers");
    assert_eq!(bench.ask("PUT", &upper, Some(body.clone())).await.status, 201);
    assert_eq!(bench.ask("PUT", VA, Some(body)).await.status, 200);
    let got = bench.ask("GET", VA, None).await;
    assert_eq!(got.properties()["selectedProvider"], "MdeTvm");
    assert_eq!(bench.ask("DELETE", VA, None).await.status, 200);
    assert_eq!(bench.ask("DELETE", VA, None).await.status, 204);
}

#[tokio::test]
async fn solutions_are_stored_on_workspaces() {
    let scope = format!("/subscriptions/{DEFAULT_SUBSCRIPTION}/resourceGroups/rg/providers");
    let workspace = format!("{scope}/Microsoft.OperationalInsights/workspaces/ws");
    let bench = Bench::seeded(&format!(
        "subscriptions: [{{subscriptionId: {DEFAULT_SUBSCRIPTION}, workspaces: [{{id: {workspace}, location: westeurope}}]}}]"
    ))
    .await;
    let got = bench
        .path("GET", &format!("{workspace}?api-version=2022-10-01"), None)
        .await;
    assert_eq!(got.body["location"], "westeurope");
    let solution = format!(
        "{scope}/Microsoft.OperationsManagement/solutions/Security(ws)?api-version=2015-11-01-preview"
    );
    assert_eq!(bench.path("GET", &solution, None).await.status, 404);
    let body = json!({"location": "westeurope", "properties": {"workspaceResourceId": workspace},
                      "plan": {"name": "Security(ws)", "publisher": "Microsoft", "product": "OMSGallery/Security", "promotionCode": ""}});
    assert_eq!(bench.path("PUT", &solution, Some(body)).await.status, 201);
    assert_eq!(
        bench.path("GET", &solution, None).await.properties()["provisioningState"],
        "Succeeded"
    );
}

#[tokio::test]
async fn a_service_account_signs_in() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    let key = rcgen::KeyPair::generate().unwrap();
    let seed = json!({"principals": [{"clientId": DEFAULT_CLIENT, "federatedIdentityCredentials": [{
        "issuer": "https://kubernetes.local", "subject": "system:serviceaccount:team:sprot",
        "publicKeyPem": key.public_key_pem()}]}]});
    let mut bench = Bench::seeded(&seed.to_string()).await;
    let signed = |subject: &str, lifetime: i64| {
        let expires = jiff::Timestamp::now().as_second() + lifetime;
        let claims = json!({"iss": "https://kubernetes.local", "sub": subject, "exp": expires,
                            "aud": ["api://AzureADTokenExchange"]});
        let key = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).unwrap();
        encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap()
    };
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let ask = async |assertion: String| {
        let form = [
            ("client_id", DEFAULT_CLIENT),
            ("client_assertion_type", kind),
            ("client_assertion", &assertion),
        ];
        bench.token_request(DEFAULT_TENANT, &form).await
    };
    let good = ask(signed("system:serviceaccount:team:sprot", 600)).await;
    assert_eq!(
        ask(signed("system:serviceaccount:other:sprot", 600)).await.body["error_codes"][0],
        700_213
    );
    assert_eq!(
        ask(signed("system:serviceaccount:team:sprot", -5)).await.body["error_codes"][0],
        700_024
    );
    bench.token = good.body["access_token"].as_str().unwrap().into();
    assert_eq!(bench.ask("GET", PLAN, None).await.status, 200);
}
