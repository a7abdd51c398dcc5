//! What is asked wrongly, or at the edge of what is answered.
