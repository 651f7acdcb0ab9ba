//! Types that cross the kernel boundary, and the decisions both sides must make alike.
#![no_std]
