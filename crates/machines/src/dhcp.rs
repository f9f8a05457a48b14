//! DHCPv4, DHCPv6 and router advertisements for one guest.
