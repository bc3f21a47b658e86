//! Who does the work in tierlog.
