//! The processor architecture of a machine. Azure Resource Manager has no member for it, so it is derived from the size
//! of a virtual machine, the model of an EC2 instance, and texts of images, kernels and agents (docs/azure-api.md 6.6).

/// The processor architecture of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// x64, also if nothing indicates another one.
    #[default]
    X64,
    /// ARM64.
    Arm64,
}

impl Architecture {
    /// The architecture by the size of a virtual machine (`Standard_D4ps_v5`), the model that an agent detected
    /// (`m6g.large`), and other texts, such as the SKU of the image or the version of the kernel. Any may be empty.
    pub fn of(size: &str, model: &str, texts: &[&str]) -> Self {
        let is_arm64 = is_arm_size(size) || is_arm_model(model) || texts.iter().any(|text| names_arm(text));
        if is_arm64 { Self::Arm64 } else { Self::X64 }
    }
}

/// Sizes are `Standard_{family}{processors}{features}_{version}`; the feature `p` is ARM64.
fn is_arm_size(size: &str) -> bool {
    let name = size.split('_').nth(1).unwrap_or_default();
    let processors = name.trim_start_matches(|at: char| at.is_ascii_alphabetic());
    let features = processors.trim_start_matches(|at: char| at.is_ascii_digit() || at == '-');
    features.contains(['p', 'P'])
}

/// Models of EC2 are `{family}{generation}{features}.{size}`; the feature `g` is Graviton, as is the first one, `a1`.
fn is_arm_model(model: &str) -> bool {
    let Some((name, _)) = model.split_once('.') else {
        return false;
    };
    let generation = name.trim_start_matches(|at: char| at.is_ascii_lowercase());
    let features = generation.trim_start_matches(|at: char| at.is_ascii_digit());
    name == "a1" || (features.len() < generation.len() && features.contains('g'))
}

fn names_arm(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("arm64") || text.contains("aarch64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arm64_is_recognized_by_size_model_image_and_kernel() {
        for (size, model, text) in [
            ("Standard_D4ps_v5", "", ""),
            ("Standard_B2pts_v2", "", ""),
            ("standard_e8pds_v6", "", ""),
            ("", "m6g.large", ""),
            ("", "c7gn.2xlarge", ""),
            ("", "is4gen.medium", ""),
            ("", "a1.metal", ""),
            ("", "", "9_4-arm64"),
            ("", "", "5.14.0-427.42.1.el9_4.aarch64"),
        ] {
            assert_eq!(
                Architecture::of(size, model, &["", text]),
                Architecture::Arm64,
                "{size} {model} {text}"
            );
        }
        for (size, model, text) in [
            ("", "", ""),
            ("Standard_D2s_v5", "m5.large", "6.8.0-87-generic"),
            ("Standard_NP10s", "g4dn.xlarge", "x86_64"),
            ("Standard_M416-208ms_v2", "u-6tb1.metal", "amd64"),
            ("Standard_DS2_v2_Promo", "Google Compute Engine", ""),
            ("Basic_A0", "VMware Virtual Platform v1.0", ""),
            ("Standard_NV36ads_A10_v5", "trn1.2xlarge", ""),
        ] {
            assert_eq!(
                Architecture::of(size, model, &[text]),
                Architecture::X64,
                "{size} {model} {text}"
            );
        }
    }
}
