//! Ids of Azure Resource Manager.

/// Whether two resource ids are equal: they may differ in case or lack the leading slash (docs/azure-api.md 8.3).
pub fn same_id(a: &str, b: &str) -> bool {
    a.trim_matches('/').eq_ignore_ascii_case(b.trim_matches('/'))
}
