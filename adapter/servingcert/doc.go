// Package servingcert keeps a certificate authority and a serving certificate
// for an aggregated API server, without anything else in the cluster doing it.
//
// A Keeper makes both, holds them in a Secret so that replicas share them, puts
// the CA into spec.caBundle of the APIServices, and renews both in time. It is a
// dynamiccertificates.CertKeyContentProvider, so k8s.io/apiserver's
// SecureServingInfo.Cert can be one. Other servers put Keeper.GetCertificate into
// their tls.Config. Either way a renewed certificate is served without a restart.
// Keeper.CA returns the CA certificates that clients trust.
//
// The Secret is of type kubernetes.io/tls and holds
//
//	ca.crt   the CA certificates to trust; the one that signs now is first
//	ca.key   the key of that one
//	tls.crt  the serving certificate
//	tls.key  its key
//
// A person asks for a new serving certificate by emptying tls.crt, and for a new
// CA by emptying ca.key. What is trusted is what ca.crt lists: to stop trusting
// an old CA before it expires, take it out there once tls.crt is signed by
// another.
//
// A new CA is trusted before it is used. It is first listed in ca.crt and in the
// APIServices, beside the old one; only a minute later is a serving
// certificate signed by it. When that time has come follows from the CA itself
// (NotBefore), so replicas and restarts agree on it without talking. While an
// APIService does not list the new CA, a process goes on serving its present
// certificate, until that expires.
//
// Rights needed: get and update that Secret; create secrets in the namespace, if
// it is not there; get and patch those APIServices.
package servingcert
