//! The proxy to the API server: `HTTPS_PROXY` and `NO_PROXY`, as kubectl reads them. kube 5.0 compares `NO_PROXY` with the
//! address of the proxy instead of the API server's, so the decision is made here.

use axum::http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use kube::{Config, config::Kubeconfig};

/// Where kube finds the token of a pod. A pod reaches the API server without a proxy.
const POD_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Sets the proxy of a configuration.
pub(crate) fn apply(mut config: Config) -> Config {
    if config.auth_info.token_file.as_deref() == Some(POD_TOKEN) {
        return config;
    }
    let environment = ["HTTPS_PROXY", "https_proxy"].into_iter().find_map(|name| {
        let value = std::env::var(name).ok();
        value.filter(|value| !value.is_empty())
    });
    let configured = config.proxy_url.take().or_else(of_kubeconfig);
    let matcher = Matcher::from_env();
    config.proxy_url = choose(&config.cluster_url, configured, environment.as_deref(), &matcher);
    if let Some(proxy) = &config.proxy_url {
        let (host, port) = (proxy.host().unwrap_or_default(), proxy.port_u16());
        tracing::info!(host, port, "connecting to the API server through a proxy");
    }
    config
}

/// `proxy-url` of the current context, which kube drops if `NO_PROXY` matches the address of the proxy.
fn of_kubeconfig() -> Option<Uri> {
    let Kubeconfig {
        clusters,
        contexts,
        current_context,
        ..
    } = Kubeconfig::read().ok()?;
    let current = current_context?;
    let context = contexts
        .into_iter()
        .find(|context| context.name == current)?
        .context?;
    let cluster = clusters
        .into_iter()
        .find(|cluster| cluster.name == context.cluster)?;
    cluster.cluster?.proxy_url?.parse().ok()
}

/// Whether the API server can be reached through the proxy of this configuration.
pub(crate) fn is_supported(config: &Config) -> bool {
    let scheme = |proxy: &Uri| matches!(proxy.scheme_str(), Some("http" | "https"));
    config.proxy_url.as_ref().is_none_or(scheme)
}

/// `proxy-url` of the kubeconfig wins. The proxy of the environment is not used for addresses of this machine.
fn choose(
    server: &Uri,
    configured: Option<Uri>,
    environment: Option<&str>,
    matcher: &Matcher,
) -> Option<Uri> {
    let same =
        |configured: &Uri| environment.and_then(|text| text.parse::<Uri>().ok()).as_ref() == Some(configured);
    if let Some(explicit) = configured.filter(|configured| !same(configured)) {
        return Some(explicit);
    }
    let environment = environment?;
    // "*" excludes everything; the matcher applies it to names only.
    let any = Uri::from_static("https://any.invalid/");
    if is_loopback(server) || matcher.intercept(server).is_none() || matcher.intercept(&any).is_none() {
        return None;
    }
    if environment.contains("://") {
        environment.parse().ok()
    } else {
        format!("http://{environment}").parse().ok()
    }
}

fn is_loopback(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "http://user:p%40ss@10.1.2.3:3128";

    fn chosen(
        server: &str,
        configured: Option<&str>,
        environment: Option<&str>,
        no_proxy: &str,
    ) -> Option<String> {
        let matcher = Matcher::builder()
            .https(environment.unwrap_or_default())
            .no(no_proxy)
            .build();
        let configured = configured.map(|text| text.parse().unwrap());
        let server = server.parse().unwrap();
        choose(&server, configured, environment, &matcher).map(|proxy| proxy.to_string())
    }

    #[test]
    fn no_proxy_is_about_the_api_server_and_not_about_the_proxy() {
        let server = "https://api.corp.example:6443/";
        let with = |no_proxy| chosen(server, Some(PROXY), Some(PROXY), no_proxy);
        assert_eq!(with("").unwrap(), format!("{PROXY}/"));
        assert_eq!(
            with("10.0.0.0/8").unwrap(),
            format!("{PROXY}/"),
            "the proxy's own address"
        );
        assert_eq!(with("corp.example"), None);
        assert_eq!(with(".corp.example,localhost"), None);
        assert_eq!(with("*"), None);
        // kube has dropped the proxy because of the proxy's own address.
        let dropped = chosen(server, None, Some(PROXY), "10.0.0.0/8");
        assert_eq!(dropped.unwrap(), format!("{PROXY}/"));
        let by_address = chosen("https://10.9.9.9:6443/", Some(PROXY), Some(PROXY), "10.0.0.0/8");
        assert_eq!(by_address, None);
        assert_eq!(
            chosen("https://10.9.9.9:6443/", Some(PROXY), Some(PROXY), "*"),
            None
        );
    }

    #[test]
    fn a_cluster_on_this_machine_needs_no_proxy() {
        for server in [
            "https://127.0.0.1:6443/",
            "https://localhost:6443/",
            "https://[::1]:6443/",
        ] {
            assert_eq!(chosen(server, Some(PROXY), Some(PROXY), ""), None, "{server}");
            let explicit = "https://tunnel.example:8443/";
            assert_eq!(
                chosen(server, Some(explicit), Some(PROXY), "").unwrap(),
                explicit,
                "{server}"
            );
        }
    }

    #[test]
    fn a_proxy_without_scheme_is_an_http_proxy() {
        let found = chosen("https://api.example/", None, Some("proxy.example:3128"), "");
        assert_eq!(found.unwrap(), "http://proxy.example:3128/");
        assert_eq!(chosen("https://api.example/", None, None, ""), None);
    }
}
