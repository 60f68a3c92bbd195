//! What users write and read: the custom resources, their rules and columns.
