package servingcert

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
)

// settle brings the Secret in order and the APIServices with it, and returns
// what the Secret holds then. With an error it returns what is known of it.
func (k *Keeper) settle(ctx context.Context) (c content, err error) {
	err = retry.OnError(retry.DefaultRetry, overtaken, func() error {
		c, err = k.attempt(ctx)
		return err
	})
	return c, hinted(err)
}

// overtaken reports whether another writer changed the Secret first. The caller reads it
// again.
func overtaken(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
}

func (k *Keeper) attempt(ctx context.Context) (content, error) {
	stored, c, err := k.read(ctx)
	if err != nil {
		return content{}, err
	}
	// What the Secret says is trusted comes before any use of it.
	k.trust(ctx, c.bundle)
	now := time.Now()
	r := renewal{
		names: k.names, content: c, overlap: k.overlap, held: k.serving.Load(), now: now,
		trusted: func(ca *x509.Certificate) bool { return k.trusted(ca, now) },
	}
	if err := r.run(); err != nil {
		return c, err
	}
	secret := stored.DeepCopy()
	maps.Copy(secret.Data, r.data())
	if reflect.DeepEqual(secret.Data, stored.Data) {
		return r.content, nil
	}
	if err := k.write(ctx, secret); err != nil {
		return c, err
	}
	did := cmp.Or(strings.Join(r.did, "; "), "put "+keyCACert+" in order")
	k.opts.Logger.Info("serving certificate: wrote the Secret", "secret", k.Name(), "did", did)
	k.trust(ctx, r.bundle)
	return r.content, nil
}

// read returns the Secret, without a resource version when there is none, and what it
// holds. If the Secret was deleted, that is the last CA that this process has known.
func (k *Keeper) read(ctx context.Context) (*corev1.Secret, content, error) {
	stored, err := k.opts.Secrets.Secrets(k.opts.Namespace).Get(ctx, k.opts.Secret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		k.problems.set(k.Name()+" contents", nil)
		c := k.last
		c.serving = nil
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Name:      k.opts.Secret,
				Namespace: k.opts.Namespace,
				Labels:    map[string]string{"app.kubernetes.io/managed-by": manager},
			},
			Type: corev1.SecretTypeTLS,
			Data: map[string][]byte{},
		}, c, nil
	}
	if err != nil {
		return nil, content{}, fmt.Errorf("read: %w", err)
	}
	if stored.Data == nil {
		stored.Data = map[string][]byte{}
	}
	c, err := parse(stored.Data, k.last.bundle)
	k.problems.set(k.Name()+" contents", err)
	return stored, c, nil
}

// write creates the Secret, or updates it if nobody has since it was read.
func (k *Keeper) write(ctx context.Context, secret *corev1.Secret) error {
	client := k.opts.Secrets.Secrets(k.opts.Namespace)
	if secret.ResourceVersion == "" {
		if _, err := client.Create(ctx, secret, metav1.CreateOptions{FieldManager: manager}); err != nil {
			return fmt.Errorf("create: %w", err)
		}
		return nil
	}
	if _, err := client.Update(ctx, secret, metav1.UpdateOptions{FieldManager: manager}); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	return nil
}
