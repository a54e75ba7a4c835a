package servingcert

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// renewal brings the content of a Secret in order. It depends only on the Secret, so that
// replicas agree. Two things can only delay it: held and trusted.
type renewal struct {
	names
	content
	overlap time.Duration
	held    *pair                        // the certificate that is served now, nil before the first
	trusted func(*x509.Certificate) bool // whether API servers have had a CA for long enough
	now     time.Time
	did     []string // a line for the log for each change
}

func (r *renewal) note(format string, args ...any) {
	r.did = append(r.did, fmt.Sprintf(format, args...))
}

// run makes the content what the Secret should hold at the given time.
func (r *renewal) run() error {
	r.prune()
	if why := r.needsCA(); why != "" {
		if err := r.addCA(why); err != nil {
			return err
		}
	}
	if ca := r.signer.cert; !ca.Equal(r.bundle[0]) {
		others := slices.DeleteFunc(slices.Clone(r.bundle), ca.Equal)
		r.setBundle(slices.Insert(others, 0, ca))
		r.note("listed the CA that signs first")
	}
	err := r.renewServing()
	if err == nil {
		return nil
	}
	// A CA that somebody put there, for other names or not for servers.
	if err := r.addCA("the one there cannot sign: " + err.Error()); err != nil {
		return err
	}
	return r.renewServing()
}

// prune takes expired CAs out of the bundle.
func (r *renewal) prune() {
	valid := slices.DeleteFunc(slices.Clone(r.bundle), func(ca *x509.Certificate) bool { return r.now.After(ca.NotAfter) })
	if len(valid) == len(r.bundle) {
		return
	}
	r.setBundle(valid)
	if r.signer != nil && !contains(valid, r.signer.cert) {
		r.signer = nil
	}
	r.note("stopped trusting a CA that has expired")
}

// needsCA says why a new CA is needed, or nothing. A CA is renewed before it could expire
// earlier than what it signs.
func (r *renewal) needsCA() string {
	switch {
	case len(r.bundle) == 0:
		return "there is none"
	case r.signer == nil:
		return keyCAKey + " is missing or not of a CA in " + keyCACert
	case r.now.Before(r.signer.cert.NotBefore):
		return "the present one is not valid before " + r.signer.cert.NotBefore.Format(time.RFC3339)
	case r.signer.cert.NotAfter.Sub(r.now) < 2*servingValidity:
		return "the present one expires at " + r.signer.cert.NotAfter.Format(time.RFC3339)
	}
	return ""
}

// addCA makes a CA the one that signs, and keeps the others trusted; of too many
// the last are dropped, which are the oldest.
func (r *renewal) addCA(why string) error {
	ca, err := r.newCA(r.now)
	if err != nil {
		return err
	}
	bundle := slices.Insert(slices.Clone(r.bundle), 0, ca.cert)
	r.setBundle(bundle[:min(len(bundle), maxBundle)])
	r.signer = ca
	r.note("made a CA: %s", why)
	return nil
}

// renewServing signs a serving certificate if it is time. The error is that of a CA that
// cannot.
func (r *renewal) renewServing() error {
	inUse := r.serving
	roots, err := r.verify(inUse, r.bundle, r.now)
	var why string
	switch {
	case err != nil:
		why = err.Error()
		// Nobody notices a broken one while this process serves a good one.
		inUse = r.held
		roots, _ = r.verify(inUse, r.bundle, r.now)
	case dueForRenewal(inUse.chain[0], r.now):
		why = "two thirds of the life of the present one are over"
	case !contains(roots, r.signer.cert):
		why = "the present one is signed by another CA"
	default:
		return nil
	}
	if len(roots) > 0 && !contains(roots, r.signer.cert) && !r.maySign() {
		if inUse != r.serving {
			r.serving = inUse
			r.note("put back the serving certificate in use until the new CA may sign: %s", why)
		}
		return nil
	}
	p, err := r.sign(r.signer, r.now)
	if err != nil {
		return fmt.Errorf("sign serving certificate: %w", err)
	}
	r.serving = p
	r.note("made a serving certificate: %s", why)
	return nil
}

// dueForRenewal reports whether two thirds of a certificate's life are over.
func dueForRenewal(leaf *x509.Certificate, now time.Time) bool {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return !now.Before(leaf.NotBefore.Add(life / 3 * 2))
}

// maySign reports whether the CA that signs may be used: there is no other that could be
// trusted still, or it has been trusted for the overlap.
func (r *renewal) maySign() bool {
	ca := r.signer.cert
	return len(r.bundle) == 1 || (!r.now.Before(madeAt(ca).Add(r.overlap)) && r.trusted(ca))
}
