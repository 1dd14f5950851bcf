//! Every bundled plugin, one file each.
