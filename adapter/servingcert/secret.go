package servingcert

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
)

// settle brings the Secret in order and the APIServices with it, and returns
// what the Secret holds then. With an error it returns what is known of it.
func (k *Keeper) settle(ctx context.Context) (content, error) {
	var c content
	err := retry.OnError(retry.DefaultRetry, overtaken, func() error {
		var err error
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
	want, did, err := k.rules.next(c, k.held(), k.trustedAt(now), now)
	if err != nil {
		return c, err
	}
	if stored != nil && want.equal(stored.Data) {
		return want, nil
	}
	if err := k.write(ctx, stored, want); err != nil {
		return c, err
	}
	if len(did) == 0 {
		did = []string{"put " + keyCACert + " in order"}
	}
	k.logger.Info("serving certificate: wrote the Secret", "secret", k.secretName(), "did", strings.Join(did, "; "))
	k.trust(ctx, want.bundle)
	return want, nil
}

// read returns the Secret, nil when there is none, and what it holds. If
// the Secret was deleted, the content is the last that this process has known.
func (k *Keeper) read(ctx context.Context) (*corev1.Secret, content, error) {
	stored, err := k.opts.Secrets.Secrets(k.opts.Namespace).Get(ctx, k.opts.Secret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		k.problems.set(k.secretName()+" contents", nil)
		return nil, k.last.withoutServing(), nil
	}
	if err != nil {
		return nil, content{}, fmt.Errorf("read: %w", err)
	}
	c, err := parse(stored.Data, k.last.bundle)
	k.problems.set(k.secretName()+" contents", err)
	return stored, c, nil
}

// write creates the Secret, or updates it if nobody has since it was read.
func (k *Keeper) write(ctx context.Context, stored *corev1.Secret, c content) error {
	client := k.opts.Secrets.Secrets(k.opts.Namespace)
	if stored == nil {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Name:      k.opts.Secret,
				Namespace: k.opts.Namespace,
				Labels:    map[string]string{"app.kubernetes.io/managed-by": manager},
			},
			Type: corev1.SecretTypeTLS,
			Data: c.data,
		}
		if _, err := client.Create(ctx, secret, metav1.CreateOptions{FieldManager: manager}); err != nil {
			return fmt.Errorf("create: %w", err)
		}
		return nil
	}
	secret := stored.DeepCopy()
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	maps.Copy(secret.Data, c.data)
	if _, err := client.Update(ctx, secret, metav1.UpdateOptions{FieldManager: manager}); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	return nil
}
