//! An emulator of the Azure APIs that the operator uses: Entra, ARM, Defender for Cloud.
