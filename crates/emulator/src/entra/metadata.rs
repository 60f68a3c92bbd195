//! Documents that clients read without a token: the endpoints of the cloud and the sign-in configuration.

use serde_json::{Value, json};

use super::Signer;
use crate::{answer::Answer, incoming::Incoming};

/// The document at a path, if there is one.
pub fn document(request: &Incoming, signer: &Signer, host: &str) -> Option<Answer> {
    let text: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let body = match text.as_slice() {
        ["metadata", "endpoints"] => endpoints(&request.query("api-version").unwrap_or_default(), host),
        ["common", "discovery", "instance"] => instance(request, host),
        [tenant, ".well-known", "openid-configuration"]
        | [tenant, "v2.0", ".well-known", "openid-configuration"] => configuration(tenant, host),
        [_, "discovery", "keys"] | [_, "discovery", "v2.0", "keys"] => signer.keys(),
        _ => return None,
    };
    Some(Answer::ok(body))
}

fn instance(request: &Incoming, host: &str) -> Value {
    let asked = request.query("authorization_endpoint").unwrap_or_default();
    let tenant = url::Url::parse(&asked)
        .ok()
        .and_then(|url| {
            url.path_segments()
                .and_then(|mut parts| parts.next().map(str::to_owned))
        })
        .unwrap_or_else(|| "common".into());
    let name = host.trim_start_matches("https://");
    json!({
        "tenant_discovery_endpoint": format!("{host}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": "1.1",
        "metadata": [{"preferred_network": name, "preferred_cache": name, "aliases": [name]}],
    })
}

fn configuration(tenant: &str, host: &str) -> Value {
    let base = format!("{host}/{tenant}");
    json!({
        "token_endpoint": format!("{base}/oauth2/v2.0/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{base}/discovery/v2.0/keys"),
        "issuer": format!("{base}/v2.0"),
        "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
        "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
        "end_session_endpoint": format!("{base}/oauth2/v2.0/logout"),
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
        "tenant_region_scope": null,
        "cloud_instance_name": "localhost",
        "cloud_graph_host_name": "graph.windows.net",
        "msgraph_host": "graph.microsoft.com",
        "rbac_url": "https://pas.windows.net",
    })
}

/// One cloud from 2022-09-01 on, a list of clouds before.
fn endpoints(version: &str, host: &str) -> Value {
    let cloud = json!({
        "name": "EmulatedCloud",
        "portal": format!("{host}/portal"),
        "resourceManager": format!("{host}/"),
        "authentication": {
            "loginEndpoint": host, "tenant": "common", "identityProvider": "AAD",
            "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
        },
        "graph": "https://graph.windows.net/",
        "graphAudience": "https://graph.windows.net/",
        "microsoftGraphResourceId": "https://graph.microsoft.com/",
        "media": "https://rest.media.azure.net",
        "batch": "https://batch.core.windows.net/",
        "gallery": "https://gallery.azure.com/",
        "sqlManagement": "https://management.core.windows.net:8443/",
        "activeDirectoryDataLake": "https://datalake.azure.net/",
        "logAnalyticsResourceId": "https://api.loganalytics.io",
        "ossrdbmsResourceId": "https://ossrdbms-aad.database.windows.net",
        "synapseAnalyticsResourceId": "https://dev.azuresynapse.net",
        "attestationResourceId": "https://attest.azure.net",
        "appInsightsResourceId": "https://api.applicationinsights.io",
        "suffixes": {
            "storage": "core.windows.net", "keyVaultDns": "vault.azure.net",
            "sqlServerHostname": "database.windows.net", "acrLoginServer": "azurecr.io",
            "mhsmDns": "managedhsm.azure.net",
            "azureDataLakeStoreFileSystem": "azuredatalakestore.net",
            "azureDataLakeAnalyticsCatalogAndJob": "azuredatalakeanalytics.net",
            "azureFrontDoorEndpointSuffix": "azurefd.net",
            "storageSyncEndpointSuffix": "afs.azure.net",
            "mysqlServerEndpoint": "mysql.database.azure.com",
            "postgresqlServerEndpoint": "postgres.database.azure.com",
            "mariadbServerEndpoint": "mariadb.database.azure.com",
            "synapseAnalytics": "dev.azuresynapse.net", "attestationEndpoint": "attest.azure.net",
        },
    });
    if version < "2022-09-01" {
        json!([cloud])
    } else {
        cloud
    }
}
