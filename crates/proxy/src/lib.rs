//! The data plane: exchange, router, plugin chain, upstream call.
