package servingcert

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// next returns what the Secret should hold at the given time, and a line for the log for
// each change. It depends only on the Secret, so that replicas agree. Two things can only
// delay it: held, the certificate that is served now (nil before the first), and trusted,
// which reports whether API servers have had a CA for long enough.
func (r rules) next(c content, held *pair, trusted func(*x509.Certificate) bool, now time.Time) (content, []string, error) {
	c = c.clone()
	did := prune(&c, now)
	if why := r.needsCA(c, now); why != "" {
		if err := r.addCA(&c, now); err != nil {
			return c, nil, err
		}
		did = append(did, "made a CA: "+why)
	}
	if !c.signer.cert.Equal(c.bundle[0]) {
		c.setBundle(slices.Insert(without(c.bundle, c.signer.cert), 0, c.signer.cert))
		did = append(did, "listed the CA that signs first")
	}
	s := serving{rules: r, held: held, trusted: trusted, now: now}
	what, err := s.renew(&c)
	if err != nil {
		// A CA that somebody put there, for other names or not for servers.
		if err := r.addCA(&c, now); err != nil {
			return c, nil, err
		}
		did = append(did, "made a CA: the one there cannot sign: "+err.Error())
		if what, err = s.renew(&c); err != nil {
			return c, nil, err
		}
	}
	if what != "" {
		did = append(did, what)
	}
	return c, did, nil
}

// prune takes expired CAs out of the bundle.
func prune(c *content, now time.Time) []string {
	valid := slices.DeleteFunc(slices.Clone(c.bundle), func(ca *x509.Certificate) bool { return now.After(ca.NotAfter) })
	if len(valid) == len(c.bundle) {
		return nil
	}
	c.setBundle(valid)
	if c.signer != nil && !contains(valid, c.signer.cert) {
		c.signer = nil
	}
	return []string{"stopped trusting a CA that has expired"}
}

// needsCA says why a new CA is needed, or nothing.
func (r rules) needsCA(c content, now time.Time) string {
	switch {
	case len(c.bundle) == 0:
		return "there is none"
	case c.signer == nil:
		return keyCAKey + " is missing or not of a CA in " + keyCACert
	case now.Before(c.signer.cert.NotBefore):
		return "the present one is not valid before " + c.signer.cert.NotBefore.Format(time.RFC3339)
	case c.signer.cert.NotAfter.Sub(now) < 2*r.servingValidity:
		return "the present one expires at " + c.signer.cert.NotAfter.Format(time.RFC3339)
	}
	return ""
}

// addCA makes a CA the one that signs, and keeps the others trusted; of too many
// the last are dropped, which are the oldest.
func (r rules) addCA(c *content, now time.Time) error {
	ca, err := r.newCA(now)
	if err != nil {
		return err
	}
	bundle := slices.Insert(slices.Clone(c.bundle), 0, ca.cert)
	c.setBundle(bundle[:min(len(bundle), maxBundle)])
	return c.setSigner(ca)
}

func without(certs []*x509.Certificate, cert *x509.Certificate) []*x509.Certificate {
	return slices.DeleteFunc(slices.Clone(certs), cert.Equal)
}

// serving decides on the serving certificate.
type serving struct {
	rules
	held    *pair
	trusted func(*x509.Certificate) bool
	now     time.Time
}

// renew signs a serving certificate if it is time, and says why. The error is
// that of a CA that cannot.
func (s serving) renew(c *content) (string, error) {
	inUse := c.serving
	roots, err := s.verify(inUse, c.bundle, s.now)
	var why string
	switch {
	case err != nil:
		why = err.Error()
		// Nobody notices a broken one while this process serves a good one.
		inUse = s.held
		roots, _ = s.verify(inUse, c.bundle, s.now)
	case s.dueForRenewal(inUse):
		why = "two thirds of the life of the present one are over"
	case !contains(roots, c.signer.cert):
		why = "the present one is signed by another CA"
	default:
		return "", nil
	}
	if len(roots) > 0 && !contains(roots, c.signer.cert) && !s.ready(c) {
		if inUse == c.serving {
			return "", nil
		}
		c.setServing(inUse)
		return "put back the serving certificate in use until the new CA may sign: " + why, nil
	}
	p, err := s.sign(c.signer, s.now)
	if err != nil {
		return "", fmt.Errorf("sign serving certificate: %w", err)
	}
	c.setServing(p)
	return "made a serving certificate: " + why, nil
}

// dueForRenewal reports whether two thirds of a certificate's life are over.
func (s serving) dueForRenewal(p *pair) bool {
	leaf := p.chain[0]
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return !s.now.Before(leaf.NotBefore.Add(life / 3 * 2))
}

// ready reports whether the CA may sign: there is no other that could be trusted
// still, or it has been trusted for the overlap.
func (s serving) ready(c *content) bool {
	ca := c.signer.cert
	return len(c.bundle) == 1 || (!s.now.Before(madeAt(ca).Add(s.overlap)) && s.trusted(ca))
}
