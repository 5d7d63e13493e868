/**
 * Known wrong: `vma-ref` takes a reference on the VMA and looks at nothing again. A reference keeps the record alive; it does not keep
 * the mapping from being unmapped, replaced or given other rights meanwhile (H3, H6).
 */
import { rcuProtocol } from '../../src/design/rcu.ts';
import type { FaultProtocol } from '../../src/fault/protocol.ts';

export const vmaRefProtocol: FaultProtocol = { ...rcuProtocol, name: 'vma-ref', id: 101, rechecks: false };
