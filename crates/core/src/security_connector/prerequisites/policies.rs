//! The policies of the roles in AWS: the least that the documented purpose needs (docs/azure-api.md 4.5).

use super::aws::{Policy, Statement};

const EVERYTHING: &[&str] = &["*"];

/// Just-in-time access: rules of security groups are opened for a while and closed again.
pub(super) const SERVERS: Policy = Policy {
    name: "JustInTimeAccess",
    statements: &[Statement {
        id: "SecurityGroupsOfJustInTimeAccess",
        actions: &[
            "ec2:AuthorizeSecurityGroupIngress",
            "ec2:CreateSecurityGroup",
            "ec2:DeleteSecurityGroup",
            "ec2:DescribeInstances",
            "ec2:DescribeSecurityGroupRules",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
            "ec2:ModifyInstanceAttribute",
            "ec2:ModifyNetworkInterfaceAttribute",
            "ec2:ModifySecurityGroupRules",
            "ec2:RevokeSecurityGroupIngress",
        ],
        resources: EVERYTHING,
        tagged: None,
    }],
};

/// Run Command with the two AWS documents that run a shell, and read access to the instances.
pub(super) const ARC_PROVISIONING: Policy = Policy {
    name: "ArcProvisioning",
    statements: &[
        Statement {
            id: "RunTheInstaller",
            actions: &["ssm:SendCommand"],
            resources: &[
                "arn:aws:ssm:*::document/AWS-RunShellScript",
                "arn:aws:ssm:*::document/AWS-RunPowerShellScript",
                "arn:aws:ec2:*:{account}:instance/*",
            ],
            tagged: None,
        },
        Statement {
            id: "FollowTheInstaller",
            actions: &[
                "ssm:CancelCommand",
                "ssm:DescribeInstanceInformation",
                "ssm:GetCommandInvocation",
            ],
            resources: EVERYTHING,
            tagged: None,
        },
        // Read-only: attaching a profile would need iam:PassRole, and the owners of the machines decide about their
        // roles.
        Statement {
            id: "SeeInstanceProfiles",
            actions: &[
                "ec2:DescribeIamInstanceProfileAssociations",
                "ec2:DescribeInstances",
                "iam:GetInstanceProfile",
                "iam:ListInstanceProfilesForRole",
            ],
            resources: EVERYTHING,
            tagged: None,
        },
    ],
};

/// Snapshots are taken and shared; encrypted ones are copied with a key that Defender for Cloud creates in the
/// account.
pub(super) const AGENTLESS_SCANNER: Policy = Policy {
    name: "AgentlessScanner",
    statements: &[
        Statement {
            id: "TakeSnapshots",
            actions: &[
                "ec2:CopySnapshot",
                "ec2:CreateSnapshot",
                "ec2:CreateSnapshots",
                "ec2:CreateTags",
                "ec2:DeleteTags",
                "ec2:ModifySnapshotAttribute",
            ],
            resources: &[
                "arn:aws:ec2:*:*:instance/*",
                "arn:aws:ec2:*:*:volume/*",
                "arn:aws:ec2:*::snapshot/*",
            ],
            tagged: None,
        },
        Statement {
            id: "DeleteOwnSnapshots",
            actions: &["ec2:DeleteSnapshot"],
            resources: &["arn:aws:ec2:*::snapshot/*"],
            tagged: Some(("CreatedBy", "Microsoft Defender for Cloud")),
        },
        Statement {
            id: "FollowSnapshots",
            actions: &["ec2:DescribeInstanceStatus", "ec2:DescribeSnapshots"],
            resources: EVERYTHING,
            tagged: None,
        },
        Statement {
            id: "MakeTheKey",
            actions: &["kms:CreateKey", "kms:ListKeys"],
            resources: EVERYTHING,
            tagged: None,
        },
        Statement {
            id: "SetUpTheKey",
            actions: &[
                "kms:CreateAlias",
                "kms:GetKeyPolicy",
                "kms:GetKeyRotationStatus",
                "kms:ListResourceTags",
                "kms:PutKeyPolicy",
                "kms:TagResource",
            ],
            resources: &[
                "arn:aws:kms:*:{account}:key/*",
                "arn:aws:kms:*:{account}:alias/DefenderForCloudKey",
            ],
            tagged: None,
        },
        Statement {
            id: "UseKeys",
            actions: &[
                "kms:CreateGrant",
                "kms:DescribeKey",
                "kms:GenerateDataKeyWithoutPlaintext",
                "kms:ReEncryptFrom",
                "kms:RetireGrant",
            ],
            resources: &["arn:aws:kms:*:{account}:key/*"],
            tagged: None,
        },
    ],
};
