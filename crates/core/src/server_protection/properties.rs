//! Properties of the decisions.
