//! The sizes of a socket's buffers, as builders take them.

/// The methods of a builder that set them, for what it calls the owner of the buffers. It has `options`.
macro_rules! buffer_sizes {
    ($builder:ty, $owner:literal) => {
        impl $builder {
            #[doc = concat!("The size of ", $owner, " send buffer, in bytes.")]
            pub fn send_buffer(mut self, bytes: usize) -> Self {
                self.options.push(crate::driver::SocketOption::SendBuffer(bytes));
                self
            }

            #[doc = concat!("The size of ", $owner, " receive buffer, in bytes.")]
            pub fn receive_buffer(mut self, bytes: usize) -> Self {
                self.options.push(crate::driver::SocketOption::ReceiveBuffer(bytes));
                self
            }
        }
    };
}

pub(crate) use buffer_sizes;
