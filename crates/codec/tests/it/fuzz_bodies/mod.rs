//! What the fuzz targets in `fuzz/` do with their bytes. They include these files one by one, so
//! that the ordinary tests run the same code.

pub(crate) mod packet;
pub(crate) mod stream;
pub(crate) mod topic_filter;
