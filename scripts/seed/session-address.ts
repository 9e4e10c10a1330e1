import { canonicalKey, type KeyRules, type SessionKind } from '../../src/modules/session-key/session-key.rules.ts';
import type { RandomSource } from './random-source.ts';

/** The other end of a channel. */
export interface SessionAddress {
  readonly chatType: 'direct' | 'group' | 'channel';
  readonly peer: string;
}

/** The channel of a session of this kind; null for kinds without one. */
export function drawChannel(kind: SessionKind, random: RandomSource): string | null {
  if (kind === 'GROUP') return random.pick(['discord', 'slack', 'telegram']);
  if (kind === 'DIRECT') return random.pick(['telegram', 'whatsapp', 'signal', 'webchat', 'discord']);
  return kind === 'MAIN' ? 'webchat' : null;
}

/** @param number makes the peer unique */
export function addressOf(kind: SessionKind, channel: string | null, number: number): SessionAddress {
  if (kind !== 'GROUP') return { chatType: 'direct', peer: `user-${number}` };
  return channel === 'telegram' ? { chatType: 'group', peer: `-100${number}` } : { chatType: 'channel', peer: `c${number}` };
}

/** What the key of a session is made from. */
interface KeySource {
  readonly agentId: string;
  readonly id: string;
  readonly address: SessionAddress;
  readonly channel: string | null;
  readonly keys: KeyRules;
}

/** The canonical key of a session of this kind; null for kinds without one. */
export function keyOf(kind: SessionKind, { agentId, id, address, channel, keys }: KeySource): string | null {
  switch (kind) {
    case 'OTHER':
      return null;
    case 'DIRECT':
    case 'GROUP':
      return canonicalKey(`${channel}:${address.chatType}:${address.peer}`, keys, agentId).key;
    case 'SUBAGENT':
      return canonicalKey(`subagent:${id}`, keys, agentId).key;
    case 'HOOK':
      return canonicalKey(`hook:${id}`, keys, agentId).key;
    case 'NODE':
      return canonicalKey(`node-${id}`, keys, agentId).key;
    case 'CRON':
      return canonicalKey(`cron:nightly:run:${id}`, keys, agentId).key;
    default:
      return singletonKey(kind, agentId, keys);
  }
}

/** Whether an agent has at most one current session of this kind; its other sessions of the kind are superseded. */
export function isSingletonKind(kind: SessionKind): boolean {
  return kind === 'MAIN' || kind === 'GLOBAL' || kind === 'UNKNOWN';
}

/** The key that all of an agent's sessions of a singleton kind share. */
export function singletonKey(kind: SessionKind, agentId: string, keys: KeyRules): string {
  return kind === 'MAIN' ? canonicalKey(`agent:${agentId}:main`, keys).key : kind.toLowerCase();
}
